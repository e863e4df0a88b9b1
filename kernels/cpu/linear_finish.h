// How tiles of Linear begin and end, whatever the weights are, and how far ahead weights are
// fetched.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/tile.h"

namespace longhand::kernels::cpu {

// Scales codes' sums, adds the bias where it is given, and stores R rows and V * 16 columns, as far
// as these exist.
template <typename S, int R, int V>
LONGHAND_INLINE void FinishTile(const LinearTask& task,
                                const float* bias,
                                int64_t row,
                                int64_t column,
                                typename S::F (&sum)[R][V]) {
  const int64_t columns = task.out_features - column;
  if (columns <= 0) return;
  if (task.weight_scale != nullptr) {
    typename S::F scale[1][V];
    LoadTile<S, 1, V>(task.weight_scale + column, 0, 16 * V, scale);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Mul(sum[r][v], scale[0][v]);
    }
  }
  if (task.x_scale != nullptr) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename S::F scale = S::Set(task.x_scale[row + r]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Mul(sum[r][v], scale);
    }
  }
  if (bias != nullptr) {
    typename S::F add[1][V];
    LoadTile<S, 1, V>(bias + column, 0, columns, add);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Add(sum[r][v], add[0][v]);
    }
  }
  StoreTile<S, R, V>(task.out + row * task.out_features + column, task.out_features, columns, sum);
}

// A tile's sums over a part of k; between the parts they wait in `partial`.
struct PartialSums {
  float* partial = nullptr;          // [rows][32]
  bool first = false, last = false;  // of the parts
  int64_t row = 0, column = 0;       // of out
};

// `add` adds a part's products to the tile.
template <typename S, int R, int V, typename Add>
LONGHAND_INLINE void AddPart(const LinearTask& task, const PartialSums& sums, const Add& add) {
  typename S::F sum[R][V];
  if (sums.first) {
    ZeroTile<S, R, V>(sum);
  } else {
    LoadTile<S, R, V>(sums.partial, kPanelColumns, kPanelColumns, sum);
  }
  add(sum);
  if (sums.last) {
    FinishTile<S, R, V>(task, task.bias, sums.row, sums.column, sum);
  } else {
    StoreTile<S, R, V>(sums.partial, kPanelColumns, kPanelColumns, sum);
  }
}

// How far ahead of its use a weight is fetched: what the hardware fetches by itself ends with the
// page, and the time of a memory access is some 40 lines of a stream.
constexpr int64_t kPrefetchBytes = 4096;

}  // namespace longhand::kernels::cpu
