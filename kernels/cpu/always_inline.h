// Functions of the files compiled per instruction set are inlined always: a copy of an inline
// function that the linker keeps for the whole program must not use instructions that the CPU may
// lack.
#pragma once

#define LONGHAND_INLINE inline __attribute__((always_inline))
#define LONGHAND_INLINE_LAMBDA __attribute__((always_inline))
