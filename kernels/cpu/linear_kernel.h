// The arithmetic of Linear, for an instruction set S. Every output is one chain of fused
// multiply-adds over k from 0 up, whatever the number of rows, the blocking and the instruction
// set: hence the same bits.
//
//   weight  panels of 32 columns, [in_features][32] each; the last one padded with zeros.
//           f32: in order. bf16: word i of 16 holds column i below and column 16 + i above, so that
//           widening is one shift or one mask. Codes: linear_widen.h.
//   packed  x in parts of kBlockDepth k's, each in blocks of up to S::kRows rows, [depth of the
//   part][rows of the block] out     [rows, out_features] f32
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/linear_finish.h"
#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/linear_widen.h"
#include "kernels/cpu/tile.h"

namespace longhand::kernels::cpu {

// Rows of a panel: bf16 ones load half v of the columns, widened; kHalf is added to v.
template <int kHalf>
struct Bf16Row {
  static constexpr int kBytes = 2;
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* row, int v) {
    return (v + kHalf) % 2 == 0 ? S::LowHalves(row) : S::HighHalves(row);
  }
};

template <int kHalf>
struct F32Row {
  static constexpr int kBytes = 4;
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* row, int v) {
    return FloatRow::Load<S>(row, (v + kHalf) % 2);
  }
};

// Few rows: streams V * 16 columns of weights once, widening in registers. `x` is one block of R
// rows. kHalf is the half of the panel where the columns begin; 0 unless V is 1.
template <typename S, template <int> typename Row, int R, int V, int kHalf>
void StreamColumns(const LinearTask& task, const float* x, int64_t column) {
  constexpr int64_t kRowBytes = kPanelColumns * Row<0>::kBytes;
  const int64_t panel_bytes = task.in_features * kRowBytes;
  const char* weight = task.weight + column / kPanelColumns * panel_bytes;
  typename S::F sum[R][V];
  ZeroTile<S, R, V>(sum);
  for (int64_t k = 0; k < task.in_features; ++k, x += R, weight += kRowBytes) {
    typename S::F w[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      const char* row = weight + v / 2 * panel_bytes;
      if (v % 2 == 0 && kHalf == 0) {
        for (int64_t line = 0; line < kRowBytes; line += 64) {
          S::Prefetch(row + kPrefetchBytes + line);
        }
      }
      w[v] = Row<kHalf>::template Load<S>(row, v);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename S::F all = S::Set(x[r]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[r][v] = S::Fma(all, w[v], sum[r][v]);
    }
  }
  FinishTile<S, R, V>(task, task.bias, 0, column, sum);
}

// How many vectors of columns a stream of R rows takes at once: as many accumulators as hide the
// latency of a multiply-add, or as registers allow.
template <typename S>
constexpr int StreamVectors(int rows) {
  if (S::kVectors == 1) return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
  return rows == 1 ? 8 : 4;
}

// The same of codes: some k's of the columns are widened, then multiplied; the sums wait between.
template <typename S, PanelFormat kFormat, int R, int V, int kHalf>
void StreamCodes(const LinearTask& task, const float* x, int64_t column) {
  constexpr int kPanels = (V + 1) / 2;
  constexpr int64_t kDepth = 32;  // 16 KiB of floats at most
  alignas(64) float widened[kPanels * kDepth * kPanelColumns];
  alignas(64) float partial[R * 16 * V] = {};
  typename S::F sum[R][V];
  for (int64_t first = 0; first < task.in_features; first += kDepth, x += R * kDepth) {
    const int64_t depth = Clamp(task.in_features - first, kDepth);
    for (int p = 0; p < kPanels; ++p) {
      Widen<S, kFormat>(task, column / kPanelColumns + p, first, depth,
                        widened + p * kDepth * kPanelColumns);
    }
    LoadTile<S, R, V>(partial, 16 * V, 16 * V, sum);
    for (int64_t k = 0; k < depth; ++k) {
      typename S::F w[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) {
        w[v] = S::Load(widened + (v / 2 * kDepth + k) * kPanelColumns + (v + kHalf) % 2 * 16);
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const typename S::F all = S::Set(x[k * R + r]);
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) sum[r][v] = S::Fma(all, w[v], sum[r][v]);
      }
    }
    StoreTile<S, R, V>(partial, 16 * V, 16 * V, sum);
  }
  LoadTile<S, R, V>(partial, 16 * V, 16 * V, sum);
  FinishTile<S, R, V>(task, task.bias, 0, column, sum);
}

// A way to stream columns of floats, and one of codes.
template <template <int> typename Row>
struct FloatColumns {
  template <typename S, int R, int V, int kHalf>
  static LONGHAND_INLINE void Stream(const LinearTask& task, const float* x, int64_t column) {
    StreamColumns<S, Row, R, V, kHalf>(task, x, column);
  }
};
template <PanelFormat kFormat>
struct CodeColumns {
  template <typename S, int R, int V, int kHalf>
  static LONGHAND_INLINE void Stream(const LinearTask& task, const float* x, int64_t column) {
    StreamCodes<S, kFormat, R, V, kHalf>(task, x, column);
  }
};

template <typename S, typename Columns, int R>
void StreamRows(const LinearTask& task,
                const float* packed,
                int64_t panel_begin,
                int64_t panel_end) {
  if (task.num_rows != R) {
    if constexpr (R > 1) StreamRows<S, Columns, R - 1>(task, packed, panel_begin, panel_end);
    return;
  }
  constexpr int kVectors = StreamVectors<S>(R);
  const int64_t end = panel_end * kPanelColumns;
  int64_t column = panel_begin * kPanelColumns;
  if constexpr (kVectors == 1) {
    for (; column < end; column += kPanelColumns) {
      Columns::template Stream<S, R, 1, 0>(task, packed, column);
      Columns::template Stream<S, R, 1, 1>(task, packed, column + 16);
    }
  } else {
    for (; column + 16 * kVectors <= end; column += 16 * kVectors) {
      Columns::template Stream<S, R, kVectors, 0>(task, packed, column);
    }
    for (; column < end; column += kPanelColumns)
      Columns::template Stream<S, R, 2, 0>(task, packed, column);
  }
}

template <typename S>
void Stream(const LinearTask& task, const float* packed, int64_t panel_begin, int64_t panel_end) {
  const auto run = [&](auto columns) {
    StreamRows<S, decltype(columns), kMaxStreamRows>(task, packed, panel_begin, panel_end);
  };
  switch (task.format) {
    case PanelFormat::kF32:
      return run(FloatColumns<F32Row>{});
    case PanelFormat::kBf16:
      return run(FloatColumns<Bf16Row>{});
    case PanelFormat::kFp8:
      return run(CodeColumns<PanelFormat::kFp8>{});
    case PanelFormat::kInt4:
      return run(CodeColumns<PanelFormat::kInt4>{});
    case PanelFormat::kInt8:
      return;  // int8_kernel.h
  }
}

// Many rows: one block of x by one part of one panel; the sums wait between the parts.
struct Block {
  const float* x;
  const char* panel;    // rows of kPanelColumns, as B loads them
  int64_t panel_bytes;  // from row to row
  int64_t depth;        // k's of this part
  Ahead ahead;
  PartialSums sums;
};

template <typename S, typename B, int R>
void MultiplyBlock(const LinearTask& task, const Block& block) {
  constexpr int V = S::kVectors;
  AddPart<S, R, V>(task, block.sums, [&](typename S::F(&sum)[R][V]) LONGHAND_INLINE_LAMBDA {
    MultiplyTile<S, B, R, V, /*kRowStep=*/1, /*kDepthStep=*/R, /*kPrefetch=*/true>(
        block.x, block.panel, block.panel_bytes, block.depth, block.ahead, sum);
  });
}

template <typename S, typename B, int R>
void MultiplyRows(int rows, const LinearTask& task, const Block& block) {
  if (rows == R) return MultiplyBlock<S, B, R>(task, block);
  if constexpr (R > 1) MultiplyRows<S, B, R - 1>(rows, task, block);
}

// All columns of the panel; registers take one half at a time where they are few.
template <typename S, template <int> typename Row>
void MultiplyPanel(int rows, const LinearTask& task, Block block) {
  MultiplyRows<S, Row<0>, S::kRows>(rows, task, block);
  if constexpr (S::kVectors == 1) {
    block.sums.partial += 16;
    block.sums.column += 16;
    MultiplyRows<S, Row<1>, S::kRows>(rows, task, block);
  }
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

template <typename S>
void PackBlocks(const LinearTask& task, int64_t block_begin, int64_t block_end, float* packed) {
  const RowBlocks blocks(task.num_rows, S::kRows);
  for (int64_t b = block_begin; b < block_end; ++b) {
    const int64_t row = blocks.Begin(b);
    for (int64_t k = 0; k < task.in_features; k += kBlockDepth) {
      const int64_t left = task.in_features - k;
      const int64_t depth = left < kBlockDepth ? left : kBlockDepth;
      PackRows<S>(task.x + row * task.in_features + k, task.in_features, blocks.Rows(b), depth,
                  packed + k * task.num_rows + row * depth);
    }
  }
}

// One part of one panel.
struct PanelPart {
  int64_t panel = 0;
  int64_t k = 0;
  int64_t depth = 0;

  LONGHAND_INLINE const char* Weight(const LinearTask& task, int64_t row_bytes) const {
    return task.weight + (panel * task.in_features + k) * row_bytes;
  }
};

// The parts of the task's panels, all panels of one part before the next part.
LONGHAND_INLINE PanelPart FirstPart(const LinearTask& task, int64_t panel_begin) {
  return {panel_begin, 0, Clamp(task.in_features, kBlockDepth)};
}
LONGHAND_INLINE PanelPart NextPart(const LinearTask& task,
                                   const PanelPart& part,
                                   int64_t panel_begin,
                                   int64_t panel_end) {
  if (part.panel + 1 < panel_end) return {part.panel + 1, part.k, part.depth};
  const int64_t k = part.k + part.depth;
  return {panel_begin, k, Clamp(task.in_features - k, kBlockDepth)};
}

// One part of a panel, whose rows are at `rows`, for all rows of x. Meanwhile the next part's
// weights arrive, a share during each block.
template <typename S, template <int> typename Row>
void MultiplyPart(const LinearTask& task,
                  const float* packed,
                  const PanelPart& part,
                  const PanelPart& next,
                  const char* rows,
                  float* partials) {
  const RowBlocks blocks(task.num_rows, S::kRows);
  const int64_t stored_bytes = RowBytes(task.format);
  Block block;
  block.panel = rows;
  block.panel_bytes = kPanelColumns * Row<0>::kBytes;
  block.depth = part.depth;
  block.sums.first = part.k == 0;
  block.sums.last = part.k + part.depth == task.in_features;
  block.sums.column = part.panel * kPanelColumns;
  block.ahead.step = stored_bytes / blocks.count;
  for (int64_t b = 0; b < blocks.count; ++b) {
    block.sums.row = blocks.Begin(b);
    block.x = packed + part.k * task.num_rows + block.sums.row * part.depth;
    block.sums.partial = partials + block.sums.row * kPanelColumns;
    block.ahead.p = next.Weight(task, stored_bytes) + block.ahead.step * part.depth * b;
    MultiplyPanel<S, Row>(blocks.Rows(b), task, block);
  }
}

// A few panels, with the k's in parts: the part of x and the sums stay in L2, the part of the panel
// in L1. For a few blocks of rows, widening a bf16 weight for each costs less than a widened copy;
// codes are always copied. Sums wait in scratch, where rows are next to each other; rows of `out`
// may be pages apart.
template <typename S>
void Multiply(const LinearTask& task,
              const float* packed,
              int64_t panel_begin,
              int64_t panel_end,
              float* scratch) {
  float* const widened = scratch + kSumFloats;
  PanelPart part = FirstPart(task, panel_begin);
  while (part.depth > 0) {
    const PanelPart next = NextPart(task, part, panel_begin, panel_end);
    float* sums = scratch + (part.panel - panel_begin) * kPanelColumns * task.num_rows;
    const char* rows = part.Weight(task, RowBytes(task.format));
    const auto widen_and_multiply = [&](auto format) {
      Widen<S, decltype(format)::value>(task, part.panel, part.k, part.depth, widened);
      rows = reinterpret_cast<const char*>(widened);
      MultiplyPart<S, F32Row>(task, packed, part, next, rows, sums);
    };
    switch (task.format) {
      case PanelFormat::kF32:
        MultiplyPart<S, F32Row>(task, packed, part, next, rows, sums);
        break;
      case PanelFormat::kBf16:
        if (task.num_rows >= kMinWidenedRows) {
          widen_and_multiply(FormatConstant<PanelFormat::kBf16>{});
        } else {
          MultiplyPart<S, Bf16Row>(task, packed, part, next, rows, sums);
        }
        break;
      case PanelFormat::kFp8:
        widen_and_multiply(FormatConstant<PanelFormat::kFp8>{});
        break;
      case PanelFormat::kInt4:
        widen_and_multiply(FormatConstant<PanelFormat::kInt4>{});
        break;
      case PanelFormat::kInt8:
        return;  // int8_kernel.h
    }
    part = next;
  }
}

template <typename S>
constexpr LinearKernels MakeLinearKernels() {
  return {S::kRows, Stream<S>, PackBlocks<S>, Multiply<S>};
}

}  // namespace longhand::kernels::cpu
