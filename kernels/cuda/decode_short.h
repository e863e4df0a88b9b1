// Decode attention where each multiprocessor has a split at most: a block of eight warps, 32 keys a
// warp, with all of a short split on its way at once. Tile by tile the operations are those of
// decode_split.h.
#pragma once

#include "kernels/cuda/decode_list.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kShortWarps = kShortSplitKeys / 32;
constexpr int kShortThreads = kShortWarps * kWarpSize;

// The shared memory of a block.
template <typename Types>
struct ShortMemory {
  static constexpr int kStageKeys = kShortSplitKeys;
  static constexpr int kRowBytes = kStageKeys * Types::Pitch(Types::kHeadDim);
  static constexpr int kWeightPitch = kStageKeys * 2 + kPadBytes;
  using Copies = RowCopies<Types, kStageKeys, kShortThreads>;
  // With 8 bits keys and values take turns in one tile, to which they are widened.
  alignas(16) char tile[kRowBytes];
  alignas(16) char other[Copies::kWidens ? 2 * Copies::kRawBytes : kRowBytes];
  alignas(16) char weights[kWarpRows * kWeightPitch];  // bf16
  float max[kShortWarps][kWarpRows];                   // of each warp's keys
  alignas(16) char slots[Copies::kSharedBytes];
  DecodeList<kShortThreads> list;
  uint32_t complete;  // FinishItem's

  __device__ char* keys() { return tile; }
  __device__ char* values() { return Copies::kWidens ? tile : other; }
  __device__ char* raw_keys() { return other; }
  __device__ char* raw_values() { return other + Copies::kRawBytes; }
};

template <typename Types>
__device__ __forceinline__ void AttendShortSplit(const PagedProblem<Types>& problem,
                                                 const Partials& partials,
                                                 ShortMemory<Types>& memory,
                                                 const SplitRows& rows,
                                                 int split) {
  using Memory = ShortMemory<Types>;
  constexpr int kWarps = kShortWarps, kWarpKeys = kWarpSize;  // keys that a warp multiplies
  constexpr int kStageKeys = Memory::kStageKeys, kTiles = kStageKeys / kTileKeys;
  // Pairs of value tiles: warp w has pairs w, w + kWarps, ...
  constexpr int kAllPairs = Types::kValueTiles / 2;
  constexpr int kPairs = (kAllPairs + kWarps - 1) / kWarps;
  constexpr int kPitch = Types::Pitch(Types::kHeadDim);
  WarpQueries<Types> queries(nullptr, Types::kHeadDim, problem.logit_scale);
  typename Memory::Copies copies(memory.slots);
  const KeyRows<typename Types::Kv> keys =
      problem.Rows(rows.first_seq, rows.first.kv_head, rows.first.context_len);
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int g = lane / 4, q = lane % 4;
  const int begin = SplitBegin(split), end = min(SplitBegin(split + 1), rows.first.context_len);
  const float scale = problem.logit_scale;
  for (int first_row = 0; first_row < rows.count(); first_row += kWarpRows) {
    __syncthreads();  // all are done with the rows or the split before
    copies.Find(keys, begin);
    copies.Keep(keys, begin, 0);
    __syncthreads();
    const auto bring_keys = [&](int key, int parity) {
      copies.Copy(keys, keys.keys, key, parity, Types::kHeadDim, memory.keys(), memory.raw_keys());
    };
    const auto bring_values = [&](int key, int parity) {
      copies.Copy(keys, keys.values, key, parity, Types::kHeadDim, memory.values(),
                  memory.raw_values());
    };
    bring_keys(begin, 0);
    bring_values(begin, 0);
    LoadQueries(problem, rows, first_row, queries);
    const int mine[2] = {first_row + g, first_row + g + 8};
    const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    float values[2 * kPairs][4] = {};
    int parity = 0;
    for (int stage = begin; stage < end; stage += kStageKeys) {
      const int next = stage + kStageKeys;
      const bool more = next < end;
      parity ^= 1;  // the next stage's
      copies.Find(keys, next);
      WaitForCopies<1>();
      copies.Widen(keys, memory.raw_keys(), memory.keys());
      __syncthreads();  // the keys are there
      float scores[kWarpKeys / 8][4];
      const int first_key = stage + warp * kWarpKeys;
      queries.Score(memory.keys() + warp * kWarpKeys * kPitch, kWarpKeys, scores);
      const int left[2] = {visible[0] - first_key, visible[1] - first_key};
      Mask(left, scores);
      float warp_max[2] = {-INFINITY, -INFINITY};
      LargestOf(scores, warp_max);
      if (q == 0) {
        memory.max[warp][g] = warp_max[0];
        memory.max[warp][g + 8] = warp_max[1];
      }
      copies.Keep(keys, next, parity);
      __syncthreads();  // all have scored: the next keys may come
      if (more) bring_keys(next, parity);
      if (!more) CommitCopies();
      float decay[kTiles][2];  // [tile of the stage][row]
      for (int r = 0; r < 2; ++r) {
        const int row = g + 8 * r;
        float base = 0;
        for (int tile = 0; tile < kTiles; ++tile) {
          const float tile_max =
              fmaxf(max[r], fmaxf(memory.max[2 * tile][row], memory.max[2 * tile + 1][row]));
          decay[tile][r] = Decay<Types>(max[r], tile_max, scale);
          max[r] = tile_max;
          if (tile == warp / 2) base = BaseOf(tile_max, scale);
        }
        char* weights = memory.weights + row * Memory::kWeightPitch + warp * kWarpKeys * 2 + q * 4;
#pragma unroll
        for (int n = 0; n < kWarpKeys / 8; ++n) {
          *reinterpret_cast<uint32_t*>(weights + n * 16) =
              PackBf16(Weight<Types>(scores[n][2 * r], base, scale),
                       Weight<Types>(scores[n][2 * r + 1], base, scale));
        }
      }
      WaitForCopies<1>();
      copies.Widen(keys, memory.raw_values(), memory.values());
      __syncthreads();  // the values and all weights are there
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        if (stage + tile * kTileKeys >= end) break;
        for (int r = 0; r < 2; ++r) {
          sum[r] = __fmul_rn(sum[r], decay[tile][r]);
#pragma unroll
          for (int n = 0; n < 2 * kPairs; ++n) {
            for (int i = 2 * r; i < 2 * r + 2; ++i) {
              values[n][i] = __fmul_rn(values[n][i], decay[tile][r]);
            }
          }
        }
#pragma unroll
        for (int step = 0; step < kTileKeys / 16; ++step) {
          const int key = tile * kTileKeys + step * 16;
          uint32_t weights[4];
          LoadMatrixX4<false>(weights, memory.weights + lane % 16 * Memory::kWeightPitch + key * 2 +
                                           lane / 16 * 16);
          const char* row =
              memory.values() + (key + lane % 16) * kPitch + lane / 16 * 16 + warp * 32;
#pragma unroll
          for (int pair = 0; pair < kPairs; ++pair) {
            if (warp + pair * kWarps >= kAllPairs) break;
            AddProducts(weights, row + pair * kWarps * 32, values[2 * pair], values[2 * pair + 1]);
          }
          if (warp == 0) AddWeights(weights, sum);
        }
      }
      __syncthreads();  // all have added: the next values may come
      if (more) bring_values(next, parity);
      if (!more) CommitCopies();
    }
    for (int r = 0; r < 2; ++r) {
      if (mine[r] >= rows.count()) continue;
      const int64_t index = partials.Index(rows.SlotAndHead(problem, mine[r]), split);
      if (warp == 0 && q == 0) {
        partials.max[index] = max[r];
        partials.sum[index] = sum[r];
      }
      float* out = partials.values + index * Types::kHeadDim + warp * 16 + q * 2;
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        if (warp + pair * kWarps >= kAllPairs) break;
        for (int n = 0; n < 2; ++n) {
          *reinterpret_cast<float2*>(out + pair * kWarps * 16 + n * 8) =
              make_float2(values[2 * pair + n][2 * r], values[2 * pair + n][2 * r + 1]);
        }
      }
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
