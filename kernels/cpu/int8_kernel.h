// Linear with int8 weights, for an instruction set S: rows of x are rounded to int8 as well, by
// groups of 32 along k, and a group's product is a whole number, exact in any order. An output is
// one chain over its groups from 0 up, sum = product * weight's scale * x's scale + sum, so its
// bits depend neither on the rows beside it nor on the instruction set.
//
//   weight  panels of 32 columns, of groups: scales as the bf16 panel keeps a row, then the codes,
//           four k's of a column in a word, [8][32]; 128 is added to codes, as instructions
//           multiply bytes without a sign by bytes with one
//   packed  x in blocks of up to S::kInt8Rows rows, each of groups: [8][rows] words of four codes,
//           [rows] products of 128 and the codes' sum, negated, [rows] scales
//   out     [rows, out_features] f32
#pragma once

#include <cstdint>

#include "kernels/cpu/int8_kernels.h"
#include "kernels/cpu/linear_finish.h"

namespace longhand::kernels::cpu {

constexpr int kWords = kInt8Group / 4;  // of a column's, or a row's, group

// A group of one row: the codes, and the other two words.
struct Int8RowGroup {
  alignas(32) int8_t codes[kInt8Group];
  int32_t unbias;
  float scale;
};

// The first n of 32 floats. The scale is NaN where one of them is no number.
template <typename S>
LONGHAND_INLINE Int8RowGroup RoundGroup(const float* x, int n) {
  using F = typename S::F;
  const F low = n >= 16 ? S::Load(x) : S::Load(x, n);
  const F high = n == 32 ? S::Load(x + 16) : n > 16 ? S::Load(x + 16, n - 16) : S::Zero();
  const auto size = [](F v) LONGHAND_INLINE_LAMBDA { return S::Max(v, S::Sub(S::Zero(), v)); };
  const float largest = S::ReduceMax(S::Max(size(low), size(high)));
  const bool is_zero = !(largest >= kSmallestRow);
  const float inverse = is_zero ? 0 : kMaxInt8 / largest;
  // NaN, which Max and Min take for their second operand, becomes -127.
  const auto round = [&](F v) LONGHAND_INLINE_LAMBDA {
    const F scaled = S::Max(S::Mul(v, S::Set(inverse)), S::Set(-kMaxInt8));
    return S::Round(S::Min(scaled, S::Set(kMaxInt8)));
  };
  const F low_codes = round(low), high_codes = round(high);
  Int8RowGroup group;
  S::StoreInt8(group.codes, low_codes, 16);
  S::StoreInt8(group.codes + 16, high_codes, 16);
  group.unbias = -128 * static_cast<int32_t>(S::ReduceAdd(S::Add(low_codes, high_codes)));
  const float nan_or_zero = S::ReduceAdd(S::Add(S::Sub(low, low), S::Sub(high, high)));
  group.scale = (is_zero ? 0 : largest / kMaxInt8) + nan_or_zero;
  return group;
}

template <typename S>
void PackInt8(const LinearTask& task, int64_t block_begin, int64_t block_end, char* packed) {
  const int64_t groups = NumInt8Groups(task.in_features);
  const RowBlocks blocks(task.num_rows, S::kInt8Rows);
  for (int64_t b = block_begin; b < block_end; ++b) {
    const int64_t first = blocks.Begin(b);
    const int rows = blocks.Rows(b);
    auto* block = reinterpret_cast<int32_t*>(packed + first * groups * kInt8RowGroupBytes);
    for (int r = 0; r < rows; ++r) {
      const float* x = task.x + (first + r) * task.in_features;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t left = task.in_features - g * kInt8Group;
        const Int8RowGroup group =
            RoundGroup<S>(x + g * kInt8Group, Clamp(left, static_cast<int>(kInt8Group)));
        int32_t* to = block + g * rows * (kWords + 2) + r;
        for (int w = 0; w < kWords; ++w) __builtin_memcpy(to + w * rows, group.codes + 4 * w, 4);
        to[kWords * rows] = group.unbias;
        reinterpret_cast<float*>(to)[(kWords + 1) * rows] = group.scale;
      }
    }
  }
}

// sum += some groups of one block of x by one panel. Meanwhile memory ahead is fetched, for each
// word kLines lines of it.
template <typename S, int R, int kLines>
LONGHAND_INLINE void MultiplyGroups(
    const char* x, const char* panel, int64_t groups, Ahead ahead, typename S::F (&sum)[R][2]) {
  for (int64_t g = 0; g < groups; ++g, x += R * kInt8RowGroupBytes, panel += kInt8GroupBytes) {
    const char* codes = panel + 2 * kPanelColumns;
    typename S::I dot[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) dot[r][0] = dot[r][1] = S::StartProducts(x + 4 * (kWords * R + r));
#pragma GCC unroll 8
    for (int w = 0; w < kWords; ++w) {
#pragma GCC unroll 4
      for (int line = 0; line < kLines; ++line) S::Prefetch(ahead.p + 64 * line);
      ahead.p += ahead.step;
      const typename S::I low = S::LoadBiased(codes + w * 128),
                          high = S::LoadBiased(codes + w * 128 + 64);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const typename S::I four = S::SetWord(x + 4 * (w * R + r));
        dot[r][0] = S::AddProducts(dot[r][0], low, four);
        dot[r][1] = S::AddProducts(dot[r][1], high, four);
      }
    }
    const typename S::F scale[2] = {S::LowHalves(panel), S::HighHalves(panel)};
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename S::F x_scale =
          S::Set(*reinterpret_cast<const float*>(x + 4 * ((kWords + 1) * R + r)));
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        sum[r][v] = S::Fma(S::Mul(S::ToFloats(dot[r][v]), scale[v]), x_scale, sum[r][v]);
      }
    }
  }
}

// One block is all there is: weights stream by once.
template <typename S, int R>
void StreamInt8(const LinearTask& task, const char* packed, int64_t panel) {
  const int64_t groups = NumInt8Groups(task.in_features);
  const char* weight = task.weight + panel * groups * kInt8GroupBytes;
  typename S::F sum[R][2];
  ZeroTile<S, R, 2>(sum);
  MultiplyGroups<S, R, 3>(packed, weight, groups,
                          {weight + kPrefetchBytes, kInt8GroupBytes / kWords}, sum);
  FinishTile<S, R, 2>(task, task.bias, 0, panel * kPanelColumns, sum);
}

// A block of x by a part of a panel.
struct Int8Block {
  const char* x;
  const char* panel;
  int64_t groups;
  Ahead ahead;
  PartialSums sums;
};

template <typename S, int R>
void MultiplyInt8Block(const LinearTask& task, const Int8Block& block) {
  AddPart<S, R, 2>(task, block.sums, [&](typename S::F(&sum)[R][2]) LONGHAND_INLINE_LAMBDA {
    MultiplyGroups<S, R, 1>(block.x, block.panel, block.groups, block.ahead, sum);
  });
}

template <typename S, int R>
void MultiplyInt8Rows(int rows, const LinearTask& task, const Int8Block& block) {
  if (rows == R) return MultiplyInt8Block<S, R>(task, block);
  if constexpr (R > 1) MultiplyInt8Rows<S, R - 1>(rows, task, block);
}

template <typename S, int R>
void StreamInt8Rows(const LinearTask& task, const char* packed, int64_t panel) {
  if (task.num_rows == R) return StreamInt8<S, R>(task, packed, panel);
  if constexpr (R > 1) StreamInt8Rows<S, R - 1>(task, packed, panel);
}

// One part of a panel for all rows of x. Meanwhile the next part's weights arrive, a share during
// each block.
template <typename S>
void MultiplyInt8Part(const LinearTask& task,
                      const char* packed,
                      int64_t panel,
                      int64_t group,
                      const char* next,
                      float* partials) {
  const int64_t groups = NumInt8Groups(task.in_features);
  const RowBlocks blocks(task.num_rows, S::kInt8Rows);
  Int8Block block;
  block.panel = task.weight + (panel * groups + group) * kInt8GroupBytes;
  block.groups = Clamp(groups - group, static_cast<int>(kInt8PartGroups));
  block.ahead.step = kInt8GroupBytes / kWords / blocks.count;
  block.sums.first = group == 0;
  block.sums.last = group + block.groups == groups;
  block.sums.column = panel * kPanelColumns;
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int rows = blocks.Rows(b);
    block.sums.row = blocks.Begin(b);
    block.x = packed + (block.sums.row * groups + group * rows) * kInt8RowGroupBytes;
    block.sums.partial = partials + block.sums.row * kPanelColumns;
    block.ahead.p = next + block.ahead.step * kWords * block.groups * b;
    MultiplyInt8Rows<S, S::kInt8Rows>(rows, task, block);
  }
}

// A few rows: panel by panel. Many: all panels of one part before the next part; the part of x and
// the sums stay in L2, the part of the panel in L1.
template <typename S>
void MultiplyInt8(const LinearTask& task,
                  const char* packed,
                  int64_t panel_begin,
                  int64_t panel_end,
                  float* sums) {
  if (task.num_rows <= S::kInt8Rows) {
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      StreamInt8Rows<S, S::kInt8Rows>(task, packed, panel);
    }
    return;
  }
  const int64_t groups = NumInt8Groups(task.in_features);
  for (int64_t group = 0; group < groups; group += kInt8PartGroups) {
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const bool is_last = panel + 1 == panel_end;
      const int64_t next_panel = is_last ? panel_begin : panel + 1;
      const int64_t next_group = is_last ? group + kInt8PartGroups : group;
      MultiplyInt8Part<S>(task, packed, panel, group,
                          task.weight + (next_panel * groups + next_group) * kInt8GroupBytes,
                          sums + (panel - panel_begin) * kPanelColumns * task.num_rows);
    }
  }
}

template <typename S>
constexpr Int8Kernels MakeInt8Kernels() {
  return {S::kInt8Rows, PackInt8<S>, MultiplyInt8<S>};
}

}  // namespace longhand::kernels::cpu
