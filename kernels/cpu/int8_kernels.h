// The part of Linear with int8 weights that is compiled for each instruction set; int8_kernel.h
// says how it works.
#pragma once

#include <cstdint>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/int8_group.h"

namespace longhand::kernels::cpu {

// A group of a panel: 32 scales, 32 x 32 codes.
inline constexpr int64_t kInt8GroupBytes = kPanelColumns * (2 + kInt8Group);
// A group of a row of x: its codes, a word that undoes the weights' bias, its scale.
inline constexpr int64_t kInt8RowGroupBytes = kInt8Group + 8;
// Groups of a part along k: 17 KiB of a panel in L1.
inline constexpr int64_t kInt8PartGroups = 16;

struct Int8Kernels {
  int block_rows;  // rows are rounded and packed in blocks of at most so many
  // Rounds some of the blocks of x, to `packed` [num_rows * groups * kInt8RowGroupBytes].
  void (*pack)(const LinearTask& task, int64_t block_begin, int64_t block_end, char* packed);
  // num_rows <= kMaxTaskRows; where they are more than a block, panel_end - panel_begin <=
  // kTaskPanels and `sums` has kSumFloats.
  void (*multiply)(const LinearTask& task,
                   const char* packed,
                   int64_t panel_begin,
                   int64_t panel_end,
                   float* sums);
};

const Int8Kernels& Int8Vnni();  // AVX-512 with VNNI
const Int8Kernels& Int8Avx2();

}  // namespace longhand::kernels::cpu
