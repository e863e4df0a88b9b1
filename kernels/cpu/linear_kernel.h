// The arithmetic of Linear, for an instruction set S. Every output is one chain of fused
// multiply-adds over k from 0 up, whatever the number of rows, the blocking and the instruction
// set: hence the same bits.
//
//   weight  panels of 32 columns, [in_features][32] each; the last one padded with zeros.
//           f32: in order. bf16: word i of 16 holds column i below and column 16 + i above, so that
//           widening is one shift or one mask.
//   x       blocks of up to S::kRows rows, [in_features][rows of the block] each
//   out     [rows, out_features] f32
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/tile.h"

namespace longhand::kernels::cpu {

struct Bf16Weight {
  static constexpr int kBytes = 2;
  // Columns 16 * half .. 16 * half + 15 of a row of a panel.
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* row, int half) {
    return half == 0 ? S::LowHalves(row) : S::HighHalves(row);
  }
};

struct F32Weight {
  static constexpr int kBytes = 4;
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* row, int half) {
    return S::Load(reinterpret_cast<const float*>(row) + 16 * half);
  }
};

// Adds the bias where it is given, and stores 16 columns from `column` on, as far as they exist.
template <typename S>
LONGHAND_INLINE void StoreColumns(const LinearTask& task,
                                  typename S::F sum,
                                  int64_t row,
                                  int64_t column) {
  const int64_t left = task.out_features - column;
  float* out = task.out + row * task.out_features + column;
  if (left >= 16) {
    if (task.bias != nullptr) sum = S::Add(sum, S::Load(task.bias + column));
    S::Store(out, sum);
  } else if (left > 0) {
    const int n = static_cast<int>(left);
    if (task.bias != nullptr) sum = S::Add(sum, S::Load(task.bias + column, n));
    S::Store(out, sum, n);
  }
}

// Few rows: streams V * 16 columns of weights once, widening in registers. `x` is one block of R
// rows.
template <typename S, typename W, int R, int V>
void StreamColumns(const LinearTask& task, int64_t column) {
  const int64_t panel_bytes = task.in_features * kPanelColumns * W::kBytes;
  const char* weight = task.weight + column / kPanelColumns * panel_bytes;
  const int first_half = static_cast<int>(column % kPanelColumns / 16);
  typename S::F sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = S::Zero();
  }
  const float* x = task.x;
  for (int64_t k = 0; k < task.in_features; ++k) {
    for (int v = 0; v < V; ++v) {
      const char* row = weight + (first_half + v) / 2 * panel_bytes + k * kPanelColumns * W::kBytes;
      const typename S::F w = W::template Load<S>(row, (first_half + v) % 2);
      for (int r = 0; r < R; ++r) sum[r][v] = S::Fma(S::Set(x[k * R + r]), w, sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) StoreColumns<S>(task, sum[r][v], r, column + 16 * v);
  }
}

// How many vectors of columns a stream of R rows takes at once: as many accumulators as hide the
// latency of a multiply-add, or as registers allow.
template <typename S>
constexpr int StreamVectors(int rows) {
  if (S::kVectors == 1) return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
  return rows == 1 ? 8 : rows <= 4 ? 4 : 2;
}

template <typename S, typename W, int R>
void StreamRows(const LinearTask& task, int64_t panel_begin, int64_t panel_end) {
  if (task.num_rows != R) {
    if constexpr (R > 1) StreamRows<S, W, R - 1>(task, panel_begin, panel_end);
    return;
  }
  constexpr int kVectors = StreamVectors<S>(R);
  const int64_t end = panel_end * kPanelColumns;
  int64_t column = panel_begin * kPanelColumns;
  for (; column + 16 * kVectors <= end; column += 16 * kVectors) {
    StreamColumns<S, W, R, kVectors>(task, column);
  }
  // What is left is whole panels.
  constexpr int kRest = kVectors < 2 ? kVectors : 2;
  for (; column < end; column += 16 * kRest) StreamColumns<S, W, R, kRest>(task, column);
}

template <typename S>
void Stream(const LinearTask& task, int64_t panel_begin, int64_t panel_end) {
  if (task.bf16) return StreamRows<S, Bf16Weight, S::kRows>(task, panel_begin, panel_end);
  StreamRows<S, F32Weight, S::kRows>(task, panel_begin, panel_end);
}

// Many rows: a part of the k's, with accumulators kept in `out` between the parts.
struct Block {
  int64_t row;       // of out
  int64_t column;    // of out
  int64_t depth;     // k's of this block
  bool first, last;  // of the blocks along k
};

template <typename S, int R>
void MultiplyBlock(const LinearTask& task, const Block& block, const float* x, const float* panel) {
  constexpr int kVectors = S::kVectors;
  typename S::F sum[R][kVectors];
  const int64_t columns = task.out_features - block.column;
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - 16 * v;
    const int n = static_cast<int>(left < 0 ? 0 : left < 16 ? left : 16);
    for (int r = 0; r < R; ++r) {
      const float* out = task.out + (block.row + r) * task.out_features + block.column + 16 * v;
      sum[r][v] = block.first || n == 0 ? S::Zero() : n == 16 ? S::Load(out) : S::Load(out, n);
    }
  }
  MultiplyTile<S, R, kVectors, /*kRowStep=*/1, /*kDepthStep=*/R>(x, panel, kPanelColumns,
                                                                 block.depth, sum);
  LinearTask sink = task;
  if (!block.last) sink.bias = nullptr;
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      StoreColumns<S>(sink, sum[r][v], block.row + r, block.column + 16 * v);
    }
  }
}

template <typename S, int R>
void MultiplyRows(
    int rows, const LinearTask& task, const Block& block, const float* x, const float* panel) {
  if (rows == R) return MultiplyBlock<S, R>(task, block, x, panel);
  if constexpr (R > 1) MultiplyRows<S, R - 1>(rows, task, block, x, panel);
}

// Rows of x as [depth][rows]: 16 k's of up to 16 rows at a time.
template <typename S>
void PackRows(const float* x, int64_t stride, int rows, int64_t depth, float* packed) {
  alignas(64) float square[16 * 16];
  const char* row_starts[16];
  for (int r = 0; r < 16; ++r) {
    row_starts[r] = reinterpret_cast<const char*>(x + (r < rows ? r : 0) * stride);
  }
  for (int64_t k = 0; k < depth; k += 16) {
    const int n = static_cast<int>(depth - k < 16 ? depth - k : 16);
    S::Transpose(row_starts, k * static_cast<int64_t>(sizeof(float)), n, square, 16);
    for (int i = 0; i < n; ++i) S::Store(packed + (k + i) * rows, S::Load(square + 16 * i), rows);
  }
}

template <typename S, typename W>
void WidenPanel(const LinearTask& task, int64_t panel, int64_t k, int64_t depth, float* wide) {
  const char* row = task.weight + (panel * task.in_features + k) * kPanelColumns * W::kBytes;
  for (int64_t i = 0; i < depth; ++i, row += kPanelColumns * W::kBytes) {
    S::Store(wide + i * kPanelColumns, W::template Load<S>(row, 0));
    S::Store(wide + i * kPanelColumns + 16, W::template Load<S>(row, 1));
  }
}

// The rows of the task, blocked along k so that the packed x stays in L2 and the widened panel in
// L1.
template <typename S>
void Multiply(const LinearTask& task, int64_t panel_begin, int64_t panel_end, float* scratch) {
  const RowBlocks blocks(task.num_rows, S::kRows);
  float* wide = scratch;
  float* packed = scratch + kBlockDepth * kPanelColumns;
  for (int64_t k = 0; k < task.in_features; k += kBlockDepth) {
    const int64_t left = task.in_features - k;
    const int64_t depth = left < kBlockDepth ? left : kBlockDepth;
    for (int64_t b = 0; b < blocks.count; ++b) {
      PackRows<S>(task.x + blocks.Begin(b) * task.in_features + k, task.in_features, blocks.Rows(b),
                  depth, packed + blocks.Begin(b) * depth);
    }
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      if (task.bf16) {
        WidenPanel<S, Bf16Weight>(task, panel, k, depth, wide);
      } else {
        WidenPanel<S, F32Weight>(task, panel, k, depth, wide);
      }
      for (int64_t b = 0; b < blocks.count; ++b) {
        for (int c = 0; c < kPanelColumns; c += 16 * S::kVectors) {
          const Block block{blocks.Begin(b), panel * kPanelColumns + c, depth, k == 0,
                            depth == left};
          MultiplyRows<S, S::kRows>(blocks.Rows(b), task, block, packed + blocks.Begin(b) * depth,
                                    wide + c);
        }
      }
    }
  }
}

template <typename S>
constexpr LinearKernels MakeLinearKernels() {
  return {S::kRows, Stream<S>, Multiply<S>, PackRows<S>};
}

}  // namespace longhand::kernels::cpu
