// The inner loop of every matrix product on the CPU: a tile of accumulators in registers, over k in
// order.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"

namespace longhand::kernels::cpu {

// Columns 16 * v .. 16 * v + 15 of a row of 32-bit floats.
struct FloatRow {
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* row, int v) {
    return S::Load(reinterpret_cast<const float*>(row) + 16 * v);
  }
};

// What is fetched while a tile is computed: `step` more bytes for each k.
struct Ahead {
  const char* p = nullptr;
  int64_t step = 0;
};

// sum[r][16 v + lane] += a[r * kRowStep + k * kDepthStep] * b[k][16 v + lane], for k = 0 .. depth -
// 1 in that order, one fused multiply-add each. Rows of b are b_bytes apart, and B loads them.
template <typename S, typename B, int R, int V, int kRowStep, int kDepthStep, bool kPrefetch>
LONGHAND_INLINE void MultiplyTile(const float* a,
                                  const char* b,
                                  int64_t b_bytes,
                                  int64_t depth,
                                  Ahead ahead,
                                  typename S::F (&sum)[R][V]) {
  // Blocks of x follow one another, so this is the rest of this one or the beginning of the next.
  constexpr int64_t kBytesAhead = 2048;
  for (int64_t k = 0; k < depth; ++k, a += kDepthStep, b += b_bytes) {
    if (kPrefetch) {
      S::Prefetch(reinterpret_cast<const char*>(a) + kBytesAhead);
      S::Prefetch(ahead.p);
      ahead.p += ahead.step;
    }
    typename S::F row[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) row[v] = B::template Load<S>(b, v);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename S::F all = S::Set(a[r * kRowStep]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Fma(all, row[v], sum[r][v]);
    }
  }
}

LONGHAND_INLINE int Clamp(int64_t value, int64_t most) {
  return static_cast<int>(value < 0 ? 0 : value < most ? value : most);
}

// The loops below are unrolled by force: accumulators must stay in registers, and where a loop
// remains they go through memory.
template <typename S, int R, int V>
LONGHAND_INLINE void ZeroTile(typename S::F (&sum)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) sum[r][v] = S::Zero();
  }
}

// Rows of `stride` floats, of which only the first `columns` of 16 V exist.
template <typename S, int R, int V>
LONGHAND_INLINE void LoadTile(const float* p,
                              int64_t stride,
                              int64_t columns,
                              typename S::F (&sum)[R][V]) {
  if (columns >= 16 * V) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Load(p + r * stride + 16 * v);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      const int n = Clamp(columns - 16 * v, 16);
      sum[r][v] = S::Load(n == 0 ? p : p + r * stride + 16 * v, n);
    }
  }
}

template <typename S, int R, int V>
LONGHAND_INLINE void StoreTile(float* p,
                               int64_t stride,
                               int64_t columns,
                               const typename S::F (&sum)[R][V]) {
  if (columns >= 16 * V) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) S::Store(p + r * stride + 16 * v, sum[r][v]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      const int n = Clamp(columns - 16 * v, 16);
      if (n > 0) S::Store(p + r * stride + 16 * v, sum[r][v], n);
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
