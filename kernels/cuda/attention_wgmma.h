// wgmma as attention uses it: of 64 rows, with tiles of 64 keys and their values in shared memory.
//
// Keys, values and queries lie alike: each 64 elements of the head in atoms of eight rows, as mma.h
// says, for all 64 rows; then the next 64 elements. Of keys the elements are the products' k, of
// values the rows are.
#pragma once

#include "kernels/cuda/wgmma.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// 64 rows of 64 elements.
constexpr int kKeyAtomBytes = 64 * 128;

// Where the 16-byte chunk of a row lies in a tile.
__device__ __forceinline__ int PlaceInAtoms(int row, int chunk) {
  return chunk / 8 * kKeyAtomBytes + row * 128 + (chunk % 8 ^ row % 8) * 16;
}

// Of rows that are k: from the first element on.
__device__ __forceinline__ SharedMatrix TransposedInShared(const void* first_atom) {
#if defined(__CUDACC__)
  // [16] between 64 elements and the next, in place of what MatrixInShared says.
  constexpr uint64_t kStride = kKeyAtomBytes / 16 - 1;
  return MatrixInShared(first_atom) + (kStride << 16);
#else
  return {.begin = first_atom, .wide_stride = kKeyAtomBytes};
#endif
}

// From the 16 elements `step` of the rows on.
__device__ __forceinline__ SharedMatrix AtElements(SharedMatrix matrix, int step) {
  return Advance(matrix, step / 4 * kKeyAtomBytes + step % 4 * 32);
}
// From the 16 rows `step` on.
__device__ __forceinline__ SharedMatrix AtRows(SharedMatrix matrix, int step) {
  return Advance(matrix, step * 16 * 128);
}

// Keeps the compiler from moving what makes A operands across.
template <int kSteps>
__device__ __forceinline__ void PinOperands([[maybe_unused]] uint32_t (&a)[kSteps][4]) {
#if defined(__CUDACC__)
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(a[step][i])::"memory");
  }
#endif
}

// As MultiplyRegisters of wgmma.h, with 16 rows of b that are k and 8 kTiles elements of theirs.
template <int kTiles>
__device__ __forceinline__ void MultiplyTransposed([[maybe_unused]] float (&d)[kTiles][4],
                                                   [[maybe_unused]] const uint32_t (&a)[4],
                                                   [[maybe_unused]] SharedMatrix b,
                                                   [[maybe_unused]] bool accumulate) {
  static_assert(kTiles == 11 || kTiles == 16);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (kTiles == 11) {
    LONGHAND_WGMMA_REGISTERS("bf16", "88", "1", LONGHAND_NAMES_11, "%44, %45, %46, %47", "%48",
                             "%49", LONGHAND_SUMS_11);
  } else {
    LONGHAND_WGMMA_REGISTERS("bf16", "128", "1", LONGHAND_NAMES_16, "%64, %65, %66, %67", "%68",
                             "%69", LONGHAND_SUMS_16);
  }
#elif !defined(__CUDACC__)
  emulation::BeginProduct({.d = d,
                           .a = a,
                           .b = b,
                           .columns = 8 * kTiles,
                           .accumulate = accumulate,
                           .is_b_transposed = true});
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
