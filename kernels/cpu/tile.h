// The inner loop of every matrix product on the CPU: a tile of accumulators in registers, over k in
// order.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"

namespace longhand::kernels::cpu {

// sum[r][16 v + lane] += a[r * kRowStep + k * kDepthStep] * b[k * b_stride + 16 v + lane], for k =
// 0 .. depth - 1 in that order, one fused multiply-add each.
template <typename S, int R, int V, int kRowStep, int kDepthStep>
LONGHAND_INLINE void MultiplyTile(
    const float* a, const float* b, int64_t b_stride, int64_t depth, typename S::F (&sum)[R][V]) {
  for (int64_t k = 0; k < depth; ++k, a += kDepthStep, b += b_stride) {
    typename S::F row[V];
    for (int v = 0; v < V; ++v) row[v] = S::Load(b + 16 * v);
    for (int r = 0; r < R; ++r) {
      const typename S::F all = S::Set(a[r * kRowStep]);
      for (int v = 0; v < V; ++v) sum[r][v] = S::Fma(all, row[v], sum[r][v]);
    }
  }
}

// Blocks of at most `most` rows, as even as they can be.
struct RowBlocks {
  LONGHAND_INLINE RowBlocks(int64_t num_rows, int64_t most)
      : count((num_rows + most - 1) / most), rows(num_rows) {}
  LONGHAND_INLINE int64_t Begin(int64_t block) const { return rows * block / count; }
  LONGHAND_INLINE int Rows(int64_t block) const {
    return static_cast<int>(Begin(block + 1) - Begin(block));
  }

  int64_t count;
  int64_t rows;
};

}  // namespace longhand::kernels::cpu
