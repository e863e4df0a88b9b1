// The arithmetic of attention, for an instruction set S: online softmax over tiles of 64 keys.
//
// Scores are a matrix product over head_dim in order, and weighted values one over keys in order,
// so a row has the same bits whatever rows are computed with it. Keys that a row may not see get
// weight 0 and change nothing. Source: online softmax, Milakov and Gimelshein, 2018; splits,
// Flash-Decoding. Written here.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/simd_math.h"
#include "kernels/cpu/tile.h"

namespace longhand::kernels::cpu {

// [blocks of rows][head_dim][rows of the block]
template <typename S>
void PackQueries(const AttentionTask& task, float* packed) {
  const RowBlocks blocks(task.num_tokens * task.group, S::kRows);
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int rows = blocks.Rows(b);
    for (int r = 0; r < rows; ++r) {
      const int64_t row = blocks.Begin(b) + r;
      const float* query =
          task.query + row / task.group * task.query_stride + row % task.group * task.head_dim;
      float* out = packed + blocks.Begin(b) * task.head_dim + r;
      for (int64_t d = 0; d < task.head_dim; ++d) out[d * rows] = query[d] * task.scale;
    }
  }
}

// A tile's keys and values in scratch.
struct Tile {
  float* keys;     // [head_dim][64]
  float* values;   // [64][value_stride]
  int64_t stride;  // head_dim, up to a whole vector
  int64_t key_begin;
  int num_keys;
};

// The tile's slots. Missing keys repeat the last one; what they score is never used.
LONGHAND_INLINE void FindSlots(const AttentionTask& task,
                               const Tile& tile,
                               int64_t (&slots)[kTileKeys]) {
  int64_t block = 0, within = tile.key_begin;
  if (task.blocks != nullptr) {
    block = tile.key_begin / task.block_size;
    within = tile.key_begin % task.block_size;
  }
  for (int j = 0; j < tile.num_keys; ++j, ++within) {
    if (task.blocks != nullptr && within == task.block_size) {
      ++block;
      within = 0;
    }
    slots[j] = task.blocks == nullptr ? within : task.blocks[block] * task.block_size + within;
  }
  for (int64_t j = tile.num_keys; j < kTileKeys; ++j) slots[j] = slots[tile.num_keys - 1];
}

// 16 keys of 8 bits, times their scales: out[d * kTileKeys] is element d of each.
template <typename S>
LONGHAND_INLINE void LoadInt8Keys(const AttentionTask& task,
                                  const int64_t* slots,
                                  const char* const (&rows)[16],
                                  float* out) {
  alignas(64) float square[16 * 16], scales[16];
  for (int i = 0; i < 16; ++i) scales[i] = task.key_scales[slots[i] * task.scale_stride];
  const typename S::F scale = S::Load(scales);
  for (int64_t d = 0; d < task.head_dim; d += 64) {
    const int words = Clamp(task.head_dim - d, 64) / 4;
    S::Transpose(rows, d, words, square, 16);
    for (int i = 0; i < words; ++i) {
      float* four = out + (d + 4 * i) * kTileKeys;
      S::Store(four, S::Mul(S::template SignedByte<0>(square + 16 * i), scale));
      S::Store(four + kTileKeys, S::Mul(S::template SignedByte<1>(square + 16 * i), scale));
      S::Store(four + 2 * kTileKeys, S::Mul(S::template SignedByte<2>(square + 16 * i), scale));
      S::Store(four + 3 * kTileKeys, S::Mul(S::template SignedByte<3>(square + 16 * i), scale));
    }
  }
}

// Keys turned round: a vector holds one element of 16 keys.
template <typename S>
void LoadKeys(const AttentionTask& task, const int64_t (&slots)[kTileKeys], float* out) {
  alignas(64) float square[16 * 16];
  for (int64_t j = 0; j < kTileKeys; j += 16) {
    const char* rows[16];
    for (int i = 0; i < 16; ++i) rows[i] = task.keys + slots[j + i] * task.slot_bytes;
    if (task.format == KvFormat::kInt8) {
      LoadInt8Keys<S>(task, slots + j, rows, out + j);
      continue;
    }
    if (task.format == KvFormat::kF32) {
      for (int64_t d = 0; d < task.head_dim; d += 16) {
        S::Transpose(rows, d * 4, Clamp(task.head_dim - d, 16), out + d * kTileKeys + j, kTileKeys);
      }
      continue;
    }
    for (int64_t d = 0; d < task.head_dim; d += 32) {
      const int pairs = Clamp(task.head_dim - d, 32) / 2;
      S::Transpose(rows, d * 2, pairs, square, 16);
      for (int i = 0; i < pairs; ++i) {
        float* pair = out + (d + 2 * i) * kTileKeys + j;
        S::Store(pair, S::LowHalves(square + 16 * i));
        S::Store(pair + kTileKeys, S::HighHalves(square + 16 * i));
      }
    }
  }
}

template <typename S>
void LoadValues(const AttentionTask& task, const int64_t (&slots)[kTileKeys], const Tile& tile) {
  for (int j = 0; j < tile.num_keys; ++j) {
    const char* row = task.values + slots[j] * task.slot_bytes;
    float* out = tile.values + j * tile.stride;
    for (int64_t d = 0; d < task.head_dim; d += 16) {
      const int n = Clamp(task.head_dim - d, 16);
      if (task.format == KvFormat::kInt8) {
        const int8_t* p = reinterpret_cast<const int8_t*>(row) + d;
        const typename S::F scale = S::Set(task.value_scales[slots[j] * task.scale_stride]);
        S::Store(out + d, S::Mul(n == 16 ? S::LoadInt8(p) : S::LoadInt8(p, n), scale));
      } else if (task.format == KvFormat::kBf16) {
        const uint16_t* p = reinterpret_cast<const uint16_t*>(row) + d;
        S::Store(out + d, n == 16 ? S::LoadBf16(p) : S::LoadBf16(p, n));
      } else {
        const float* p = reinterpret_cast<const float*>(row) + d;
        S::Store(out + d, n == 16 ? S::Load(p) : S::Load(p, n));
      }
    }
  }
}

template <typename S, int R>
LONGHAND_INLINE void Score(const float* packed, int64_t head_dim, const Tile& tile, float* scores) {
  constexpr int V = S::kVectors;
  for (int64_t j = 0; j < kTileKeys; j += 16 * V) {
    typename S::F sum[R][V];
    ZeroTile<S, R, V>(sum);
    MultiplyTile<S, FloatRow, R, V, /*kRowStep=*/1, /*kDepthStep=*/R, /*kPrefetch=*/false>(
        packed, reinterpret_cast<const char*>(tile.keys + j), kTileKeys * sizeof(float), head_dim,
        {}, sum);
    StoreTile<S, R, V>(scores + j, kTileKeys, kTileKeys - j, sum);
  }
}

// Turns a row's scores into weights; returns their sum. `max` is the largest score so far, before
// and after.
template <typename S>
LONGHAND_INLINE float Weigh(int visible, float* scores, float* max) {
  using F = typename S::F;
  constexpr int kVectors = kTileKeys / 16;
  const F lowest = S::Set(-__builtin_inff());
  F score[kVectors];
  F largest = S::Set(*max);
  for (int v = 0; v < kVectors; ++v) {
    score[v] = S::Load(scores + 16 * v);
    if (visible < kTileKeys) score[v] = S::Keep(score[v], Clamp(visible - 16 * v, 16), lowest);
    largest = S::Max(score[v], largest);
  }
  *max = S::ReduceMax(largest);
  F weight[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    weight[v] = Exp<S>(S::Sub(score[v], S::Set(*max)));
    if (visible < kTileKeys) weight[v] = S::Keep(weight[v], Clamp(visible - 16 * v, 16), S::Zero());
    S::Store(scores + 16 * v, weight[v]);
  }
  return S::ReduceAdd(S::Add(S::Add(weight[0], weight[1]), S::Add(weight[2], weight[3])));
}

// values[r] = values[r] * decay[r] + weights[r] * tile values, V vectors of columns.
template <typename S, int R, int V>
LONGHAND_INLINE void AddValues(const float* weights,
                               const Tile& tile,
                               int64_t d,
                               int64_t head_dim,
                               const float* decay,
                               float* values) {
  typename S::F sum[R][V];
  LoadTile<S, R, V>(values + d, head_dim, head_dim - d, sum);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) sum[r][v] = S::Mul(sum[r][v], S::Set(decay[r]));
  }
  MultiplyTile<S, FloatRow, R, V, /*kRowStep=*/kTileKeys, /*kDepthStep=*/1, /*kPrefetch=*/false>(
      weights, reinterpret_cast<const char*>(tile.values + d), tile.stride * 4, tile.num_keys, {},
      sum);
  StoreTile<S, R, V>(values + d, head_dim, head_dim - d, sum);
}

// One tile of keys for rows [row, row + R) of the task.
template <typename S, int R>
void AttendRows(const AttentionTask& task,
                const float* packed,
                const Tile& tile,
                int64_t row,
                float* scores,
                const AttentionState& state) {
  Score<S, R>(packed, task.head_dim, tile, scores);
  alignas(64) float change[16] = {};  // largest score before minus after
  float sums[R];
  for (int r = 0; r < R; ++r) {
    const int64_t token = (row + r) / task.group;
    const int visible = Clamp(task.first_visible + token - tile.key_begin, tile.num_keys);
    const float before = state.max[row + r];
    sums[r] = Weigh<S>(visible, scores + r * kTileKeys, &state.max[row + r]);
    // A row that has seen nothing yet keeps its zeros.
    change[r] = visible == 0 ? 0.0f : before - state.max[row + r];
  }
  alignas(64) float decay[16];
  S::Store(decay, Exp<S>(S::Load(change)));
  for (int r = 0; r < R; ++r) state.sum[row + r] = state.sum[row + r] * decay[r] + sums[r];
  float* values = state.values + row * task.head_dim;
  int64_t d = 0;
  for (; d + 16 * (S::kVectors - 1) < task.head_dim; d += 16 * S::kVectors) {
    AddValues<S, R, S::kVectors>(scores, tile, d, task.head_dim, decay, values);
  }
  if (d < task.head_dim) AddValues<S, R, 1>(scores, tile, d, task.head_dim, decay, values);
}

template <typename S, int R>
void DispatchRows(int rows,
                  const AttentionTask& task,
                  const float* packed,
                  const Tile& tile,
                  int64_t row,
                  float* scores,
                  const AttentionState& state) {
  if (rows == R) return AttendRows<S, R>(task, packed, tile, row, scores, state);
  if constexpr (R > 1) DispatchRows<S, R - 1>(rows, task, packed, tile, row, scores, state);
}

template <typename S>
void Attend(const AttentionTask& task,
            const float* packed,
            int64_t key_begin,
            int64_t key_end,
            float* scratch,
            const AttentionState& state) {
  const int64_t num_rows = task.num_tokens * task.group;
  for (int64_t row = 0; row < num_rows; ++row) {
    state.max[row] = -__builtin_inff();
    state.sum[row] = 0.0f;
  }
  for (int64_t i = 0; i < num_rows * task.head_dim; ++i) state.values[i] = 0.0f;

  Tile tile{.stride = (task.head_dim + 15) / 16 * 16};
  tile.keys = scratch;
  tile.values = tile.keys + kTileKeys * kMaxHeadDim;
  float* scores = tile.values + kTileKeys * kMaxHeadDim;
  const RowBlocks blocks(num_rows, S::kRows);
  for (tile.key_begin = key_begin; tile.key_begin < key_end; tile.key_begin += kTileKeys) {
    tile.num_keys = Clamp(key_end - tile.key_begin, kTileKeys);
    int64_t slots[kTileKeys];
    FindSlots(task, tile, slots);
    LoadKeys<S>(task, slots, tile.keys);
    LoadValues<S>(task, slots, tile);
    for (int64_t b = 0; b < blocks.count; ++b) {
      const int64_t last_token = (blocks.Begin(b + 1) - 1) / task.group;
      if (task.first_visible + last_token <= tile.key_begin) continue;
      DispatchRows<S, S::kRows>(blocks.Rows(b), task, packed + blocks.Begin(b) * task.head_dim,
                                tile, blocks.Begin(b), scores, state);
    }
  }
}

template <typename S>
void Join(const AttentionState& total,
          const AttentionState& split,
          int64_t rows,
          int64_t head_dim) {
  for (int64_t row = 0; row < rows; ++row) {
    const float before = total.max[row], other = split.max[row];
    // A row may see nothing of the split; -infinity minus itself would be NaN.
    if (other == -__builtin_inff()) continue;
    const float max = before > other ? before : other;
    alignas(64) float factors[16] = {before - max, other - max};
    S::Store(factors, Exp<S>(S::Load(factors)));
    total.max[row] = max;
    total.sum[row] = total.sum[row] * factors[0] + split.sum[row] * factors[1];
    for (int64_t d = 0; d < head_dim; d += 16) {
      const int n = Clamp(head_dim - d, 16);
      float* to = total.values + row * head_dim + d;
      const float* from = split.values + row * head_dim + d;
      const typename S::F scaled = S::Mul(S::Load(to, n), S::Set(factors[0]));
      S::Store(to, S::Fma(S::Load(from, n), S::Set(factors[1]), scaled), n);
    }
  }
}

template <typename S>
void Finish(const AttentionState& state, int64_t row, int64_t head_dim, float* out) {
  for (int64_t d = 0; d < head_dim; d += 16) {
    const int n = Clamp(head_dim - d, 16);
    const typename S::F values = S::Load(state.values + row * head_dim + d, n);
    S::Store(out + d, S::Div(values, S::Set(state.sum[row])), n);
  }
}

template <typename S>
constexpr AttentionKernels MakeAttentionKernels() {
  return {PackQueries<S>, Attend<S>, Join<S>, Finish<S>};
}

}  // namespace longhand::kernels::cpu
