// What a thread block reads of x, in shared memory: blocks of 64 k, bf16 as it is, fp8 as f16
// (Fp8ToHalves).
//
//   [blocks][tokens / 8] atoms (linear_tile.h) of 1 KiB
//
// Rows that do not exist are left as they are: each column of a product is by itself. k's that do
// not exist are zeros.
#pragma once

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// 16 bytes of a row, from its `idx`-th such chunk; and one element, from its `k`-th, of which `low`
// is the lower half. Of 32 k of fp8 the even codes are the first step's, the odd ones the second's,
// as MmaFp8 takes them.
template <int kTokens>
class StagedX {
 public:
  __device__ explicit StagedX(DeviceBf16* staged) : staged_(staged) {}

  __device__ __forceinline__ void Store(DeviceBf16, int row, int idx, const uint4& chunk) const {
    *ChunkAt(row, idx / kChunks, idx % kChunks) = chunk;
  }
  __device__ __forceinline__ void Store(DeviceFp8, int row, int idx, const uint4& chunk) const {
    const int pair = idx / 2 % 2, half = idx % 2;
    uint4 even, odd;
    Fp8ToHalves(chunk.x, even.x, odd.x);
    Fp8ToHalves(chunk.y, even.y, odd.y);
    Fp8ToHalves(chunk.z, even.z, odd.z);
    Fp8ToHalves(chunk.w, even.w, odd.w);
    *ChunkAt(row, idx / 4, 4 * pair + half) = even;
    *ChunkAt(row, idx / 4, 4 * pair + half + 2) = odd;
  }

  __device__ __forceinline__ void StoreOne(int row, int k, DeviceBf16 element) const {
    At(row, k / kBlockK, k % kBlockK / kGroup)[k % kGroup] = element;
  }
  __device__ __forceinline__ void StoreOne(int row, int k, DeviceFp8 code) const {
    uint32_t low, high;
    Fp8ToHalves(code.bits, low, high);
    const int pair = k / 32 % 2, step = k % 2, half = k / 16 % 2;
    At(row, k / kBlockK,
       4 * pair + 2 * step + half)[k % 16 / 4 * 2 + k % 4 / 2] = {static_cast<uint16_t>(low)};
  }

 private:
  __device__ __forceinline__ DeviceBf16* At(int row, int block, int chunk) const {
    return staged_ + (block * (kTokens / kAtomRows) + row / kAtomRows) * kAtom +
           SwizzledChunk(row % kAtomRows, chunk);
  }
  __device__ __forceinline__ uint4* ChunkAt(int row, int block, int chunk) const {
    return reinterpret_cast<uint4*>(At(row, block, chunk));
  }

  DeviceBf16* staged_;
};

// Blocks [first_block, first_block + num_blocks), by all threads of a block; a barrier is to
// follow. A thread has kInFlight chunks on their way.
template <typename X, int kTokens, int kInFlight>
__device__ __forceinline__ void StageX(const TensorCoreProblem& problem,
                                       int first_block,
                                       int num_blocks,
                                       DeviceBf16* staged) {
  const StagedX<kTokens> to(staged);
  const int num_rows = static_cast<int>(problem.num_tokens);
  const int thread = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  const int first_k = first_block * kBlockK, end_k = static_cast<int>(problem.in_features);
  const X* from = static_cast<const X*>(problem.x) + first_k;
  if (!problem.x_is_aligned) {
    const int width = num_blocks * kBlockK;
#pragma unroll 1
    for (int i = thread; i < num_rows * width; i += step) {
      const int row = i / width, k = i - row * width;
      to.StoreOne(row, k, first_k + k < end_k ? from[row * problem.in_features + k] : X{0});
    }
    return;
  }
  constexpr int kChunk = XBlock<X>::kChunk;
  const int row_chunks = num_blocks * XBlock<X>::kRowChunks;
  int row = thread / row_chunks, idx = thread - row * row_chunks;
#pragma unroll 1
  while (row < num_rows) {
    uint4 chunks[kInFlight];
    int rows[kInFlight], idxs[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      rows[i] = row, idxs[i] = idx;
      if (row < num_rows) {
        const int k = idx * kChunk;
        chunks[i] = first_k + k < end_k
                        ? *reinterpret_cast<const uint4*>(from + row * problem.in_features + k)
                        : uint4{0, 0, 0, 0};
      }
      idx += step;
      while (idx >= row_chunks) idx -= row_chunks, ++row;
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (rows[i] < num_rows) to.Store(X{}, rows[i], idxs[i], chunks[i]);
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
