// A warp's products of 16 features with a block of 64 k of x, by mma.sync.
#pragma once

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// A lane's share of a block: loaded first, so that one latency is for all of it.
template <typename Format, int kTiles>
struct BlockOperands {
  static constexpr int kKept = kTiles <= 2 ? kTiles : 1;  // of x, whose registers there are
  BlockOperands() = default;
  // `x` in atoms of eight tokens, one after the other.
  __device__ __forceinline__ BlockOperands(const unsigned char* weights,
                                           const DeviceBf16* x_block,
                                           int lane)
      : codes(weights, lane), x(x_block) {
    if constexpr (kTiles <= 2) {
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i) LoadX(x + i / 2 * kAtom, i % 2, lane, b[i / 2][i % 2]);
    }
  }

  typename Format::Codes codes;
  const DeviceBf16* x;
  uint32_t b[kKept][2][4];
};

template <typename Format, int kTiles>
__device__ __forceinline__ void MultiplyBlock(const BlockOperands<Format, kTiles>& block,
                                              int lane,
                                              TileSums (&sum)[kTiles]) {
  // As many products between two of one sum as hide what one takes.
  constexpr int kTogether = kTiles < 4 ? kTiles : 4;
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    uint32_t a[2][4];
    block.codes.Pair(pair, a);
#pragma unroll
    for (int first = 0; first < kTiles; first += kTogether) {
      uint32_t b[kTogether][4];
#pragma unroll
      for (int t = 0; t < kTogether; ++t) {
        if constexpr (kTiles <= 2) {
#pragma unroll
          for (int i = 0; i < 4; ++i) b[t][i] = block.b[t][pair][i];
        } else {
          LoadX(block.x + (first + t) * kAtom, pair, lane, b[t]);
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int t = 0; t < kTogether; ++t) {
          Format::Multiply(sum[first + t], a[half], {b[t][2 * half], b[t][2 * half + 1]});
        }
      }
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
