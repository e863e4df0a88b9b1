// The arithmetic of attention, for an instruction set S: online softmax over tiles of 64 keys.
//
// Scores are a matrix product over head_dim in order, and weighted values one over keys in order,
// so a row has the same bits whatever rows are computed with it. Keys that a row may not see get
// weight 0 and change nothing. A tile that several blocks of rows need is widened to floats once;
// where one block is all there is (decode), it is read where it lies. Source: online softmax,
// Milakov and Gimelshein, 2018; splits, Flash-Decoding. Written here.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_tile.h"
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

// A tile widened to floats, in scratch.
struct WideTile {
  float* keys;     // [head_dim][64]
  float* values;   // [64][stride]
  int64_t stride;  // head_dim, up to a whole vector
};

template <typename S, typename Cache>
void Widen(const AttentionTask& task, const TilePair& tiles, const WideTile& wide) {
  for (int64_t j = 0; j < kTileKeys; j += 16) {
    ForEachKeyElement<S, Cache, 1>(
        task, tiles, j, [&](int64_t d, const typename S::F(&key)[1]) LONGHAND_INLINE_LAMBDA {
          S::Store(wide.keys + d * kTileKeys + j, key[0]);
        });
  }
  for (int64_t d = 0; d < task.head_dim; d += 16) {
    const auto store = [&](int key, const typename S::F(&value)[1]) LONGHAND_INLINE_LAMBDA {
      S::Store(wide.values + key * wide.stride + d, value[0]);
    };
    if (d + 16 <= task.head_dim) {
      ForEachValue<S, Cache, 1, true>(task, tiles, d, store);
    } else {
      ForEachValue<S, Cache, 1, false>(task, tiles, d, store);
    }
  }
}

// scores[r][key] of R rows.
template <typename S, int R>
LONGHAND_INLINE void Score(const float* packed,
                           int64_t head_dim,
                           const WideTile& wide,
                           float* scores) {
  constexpr int V = S::kVectors;
  for (int64_t j = 0; j < kTileKeys; j += 16 * V) {
    typename S::F sum[R][V];
    ZeroTile<S, R, V>(sum);
    MultiplyTile<S, FloatRow, R, V, /*kRowStep=*/1, /*kDepthStep=*/R, /*kPrefetch=*/false>(
        packed, reinterpret_cast<const char*>(wide.keys + j), kTileKeys * sizeof(float), head_dim,
        {}, sum);
    StoreTile<S, R, V>(scores + j, kTileKeys, kTileKeys - j, sum);
  }
}

template <typename S, int R, int V>
LONGHAND_INLINE void AddProduct(const float* a,
                                int64_t row_step,
                                const typename S::F (&b)[V],
                                typename S::F (&sum)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const typename S::F all = S::Set(a[r * row_step]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = S::Fma(all, b[v], sum[r][v]);
  }
}

template <typename S, typename Cache, int R>
LONGHAND_INLINE void ScoreInPlace(const AttentionTask& task,
                                  const TilePair& tiles,
                                  const float* packed,
                                  float* scores) {
  constexpr int V = S::kVectors;
  for (int64_t j = 0; j < kTileKeys; j += 16 * V) {
    typename S::F sum[R][V];
    ZeroTile<S, R, V>(sum);
    ForEachKeyElement<S, Cache, V>(
        task, tiles, j, [&](int64_t d, const typename S::F(&keys)[V]) LONGHAND_INLINE_LAMBDA {
          AddProduct<S, R, V>(packed + d * R, 1, keys, sum);
        });
    StoreTile<S, R, V>(scores + j, kTileKeys, kTileKeys - j, sum);
  }
}

// Turns a row's scores into weights; returns their sums, by lane. `max` is the largest score so
// far, before and after.
template <typename S>
LONGHAND_INLINE typename S::F Weigh(int visible, float* scores, float* max) {
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
    weight[v] = ExpOfNegative<S>(S::Sub(score[v], S::Set(*max)));
    if (visible < kTileKeys) weight[v] = S::Keep(weight[v], Clamp(visible - 16 * v, 16), S::Zero());
    S::Store(scores + 16 * v, weight[v]);
  }
  return S::Add(S::Add(weight[0], weight[1]), S::Add(weight[2], weight[3]));
}

// The scores of R rows become weights; decay is by what their values so far shrink.
template <typename S, int R>
LONGHAND_INLINE void WeighRows(const AttentionTask& task,
                               int64_t key_begin,
                               int num_keys,
                               int64_t row,
                               float* scores,
                               const AttentionState& state,
                               float (&decay)[16]) {
  alignas(64) float change[16] = {};  // largest score before minus after
  typename S::F sums[R];
  for (int r = 0; r < R; ++r) {
    const int64_t token = (row + r) / task.group;
    const int visible = Clamp(task.first_visible + token - key_begin, num_keys);
    const float before = state.max[row + r];
    sums[r] = Weigh<S>(visible, scores + r * kTileKeys, &state.max[row + r]);
    // A row that has seen nothing yet keeps its zeros.
    change[r] = visible == 0 ? 0.0f : before - state.max[row + r];
  }
  S::Store(decay, ExpOfNegative<S>(S::Load(change)));
  for (int r = 0; r < R; ++r) {
    float* sum = state.sum + (row + r) * kSumLanes;
    S::Store(sum, S::Fma(S::Load(sum), S::Set(decay[r]), sums[r]));
  }
}

template <typename S, int R, int V>
LONGHAND_INLINE void LoadDecayed(const float* values,
                                 int64_t d,
                                 int64_t head_dim,
                                 const float* decay,
                                 typename S::F (&sum)[R][V]) {
  LoadTile<S, R, V>(values + d, head_dim, head_dim - d, sum);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) sum[r][v] = S::Mul(sum[r][v], S::Set(decay[r]));
  }
}

// values[r] = values[r] * decay[r] + weights[r] * tile values, V vectors of columns.
template <typename S, int R, int V>
LONGHAND_INLINE void AddValues(const float* weights,
                               const WideTile& wide,
                               int num_keys,
                               int64_t d,
                               int64_t head_dim,
                               const float* decay,
                               float* values) {
  typename S::F sum[R][V];
  LoadDecayed<S, R, V>(values, d, head_dim, decay, sum);
  MultiplyTile<S, FloatRow, R, V, /*kRowStep=*/kTileKeys, /*kDepthStep=*/1, /*kPrefetch=*/false>(
      weights, reinterpret_cast<const char*>(wide.values + d), wide.stride * 4, num_keys, {}, sum);
  StoreTile<S, R, V>(values + d, head_dim, head_dim - d, sum);
}

template <typename S, typename Cache, int R, int V>
LONGHAND_INLINE void AddValuesInPlace(const AttentionTask& task,
                                      const TilePair& tiles,
                                      const float* weights,
                                      int64_t d,
                                      const float* decay,
                                      float* values) {
  typename S::F sum[R][V];
  LoadDecayed<S, R, V>(values, d, task.head_dim, decay, sum);
  const auto add = [&](int key, const typename S::F(&value)[V]) LONGHAND_INLINE_LAMBDA {
    AddProduct<S, R, V>(weights + key, kTileKeys, value, sum);
  };
  if (d + 16 * V <= task.head_dim) {
    ForEachValue<S, Cache, V, true>(task, tiles, d, add);
  } else {
    ForEachValue<S, Cache, V, false>(task, tiles, d, add);
  }
  StoreTile<S, R, V>(values + d, task.head_dim, task.head_dim - d, sum);
}

// One tile of keys for rows [row, row + R) of the task.
template <typename S, int R>
void AttendRows(const AttentionTask& task,
                const float* packed,
                int64_t key_begin,
                int num_keys,
                const WideTile& wide,
                int64_t row,
                float* scores,
                const AttentionState& state) {
  Score<S, R>(packed, task.head_dim, wide, scores);
  alignas(64) float decay[16];
  WeighRows<S, R>(task, key_begin, num_keys, row, scores, state, decay);
  float* values = state.values + row * task.head_dim;
  int64_t d = 0;
  for (; d + 16 * (S::kVectors - 1) < task.head_dim; d += 16 * S::kVectors) {
    AddValues<S, R, S::kVectors>(scores, wide, num_keys, d, task.head_dim, decay, values);
  }
  if (d < task.head_dim)
    AddValues<S, R, 1>(scores, wide, num_keys, d, task.head_dim, decay, values);
}

// One tile of keys for all R rows of the task: the same bits.
template <typename S, typename Cache, int R>
void AttendInPlace(const AttentionTask& task,
                   const float* packed,
                   int64_t key_begin,
                   const TilePair& tiles,
                   float* scores,
                   const AttentionState& state) {
  ScoreInPlace<S, Cache, R>(task, tiles, packed, scores);
  alignas(64) float decay[16];
  WeighRows<S, R>(task, key_begin, tiles.now.num_keys, 0, scores, state, decay);
  constexpr int V = (2 * R <= S::kRows ? 2 : 1) * S::kVectors;
  int64_t d = 0;
  for (; d + 16 * (V - 1) < task.head_dim; d += 16 * V) {
    AddValuesInPlace<S, Cache, R, V>(task, tiles, scores, d, decay, state.values);
  }
  for (; d < task.head_dim; d += 16) {
    AddValuesInPlace<S, Cache, R, 1>(task, tiles, scores, d, decay, state.values);
  }
}

template <typename S, int R, typename... Args>
void DispatchRows(int rows, const Args&... args) {
  if (rows == R) return AttendRows<S, R>(args...);
  if constexpr (R > 1) DispatchRows<S, R - 1>(rows, args...);
}

template <typename S, typename Cache, int R, typename... Args>
void DispatchInPlace(int rows, const Args&... args) {
  if (rows == R) return AttendInPlace<S, Cache, R>(args...);
  if constexpr (R > 1) DispatchInPlace<S, Cache, R - 1>(rows, args...);
}

template <typename S, typename Cache>
void AttendCache(const AttentionTask& task,
                 const float* packed,
                 int64_t key_begin,
                 int64_t key_end,
                 int64_t ahead_end,
                 float* scratch,
                 const AttentionState& state) {
  const int64_t num_rows = task.num_tokens * task.group;
  const WideTile wide{.keys = scratch,
                      .values = scratch + kTileKeys * kMaxHeadDim,
                      .stride = (task.head_dim + 15) / 16 * 16};
  float* scores = wide.values + kTileKeys * kMaxHeadDim;
  const RowBlocks blocks(num_rows, S::kRows);
  TilePair tiles;
  tiles.now.Find(task, key_begin, key_end);
  for (; key_begin < key_end; key_begin += kTileKeys) {
    const int64_t next = key_begin + kTileKeys;
    if (next < ahead_end) {
      tiles.next.Find(task, next, next < key_end ? key_end : ahead_end);
    } else {
      tiles.next = tiles.now;
    }
    if (blocks.count == 1) {
      DispatchInPlace<S, Cache, S::kRows>(static_cast<int>(num_rows), task, packed, key_begin,
                                          tiles, scores, state);
    } else {
      Widen<S, Cache>(task, tiles, wide);
      for (int64_t b = 0; b < blocks.count; ++b) {
        const int64_t last_token = (blocks.Begin(b + 1) - 1) / task.group;
        if (task.first_visible + last_token <= key_begin) continue;
        DispatchRows<S, S::kRows>(blocks.Rows(b), task, packed + blocks.Begin(b) * task.head_dim,
                                  key_begin, tiles.now.num_keys, wide, blocks.Begin(b), scores,
                                  state);
      }
    }
    tiles.now = tiles.next;
  }
}

template <typename S>
void Attend(const AttentionTask& task,
            const float* packed,
            int64_t key_begin,
            int64_t key_end,
            int64_t ahead_end,
            float* scratch,
            const AttentionState& state) {
  const int64_t num_rows = task.num_tokens * task.group;
  for (int64_t row = 0; row < num_rows; ++row) {
    state.max[row] = -__builtin_inff();
    S::Store(state.sum + row * kSumLanes, S::Zero());
  }
  for (int64_t i = 0; i < num_rows * task.head_dim; ++i) state.values[i] = 0.0f;
  const auto attend = task.format == KvFormat::kInt8   ? AttendCache<S, Int8Cache>
                      : task.format == KvFormat::kBf16 ? AttendCache<S, Bf16Cache>
                                                       : AttendCache<S, F32Cache>;
  attend(task, packed, key_begin, key_end, ahead_end, scratch, state);
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
    S::Store(factors, ExpOfNegative<S>(S::Load(factors)));
    total.max[row] = max;
    float* sum = total.sum + row * kSumLanes;
    const typename S::F decayed = S::Mul(S::Load(sum), S::Set(factors[0]));
    S::Store(sum, S::Fma(S::Load(split.sum + row * kSumLanes), S::Set(factors[1]), decayed));
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
  const typename S::F sum = S::Set(S::ReduceAdd(S::Load(state.sum + row * kSumLanes)));
  for (int64_t d = 0; d < head_dim; d += 16) {
    const int n = Clamp(head_dim - d, 16);
    const typename S::F values = S::Load(state.values + row * head_dim + d, n);
    S::Store(out + d, S::Div(values, sum), n);
  }
}

template <typename S>
constexpr AttentionKernels MakeAttentionKernels() {
  return {PackQueries<S>, Attend<S>, Join<S>, Finish<S>};
}

}  // namespace longhand::kernels::cpu
