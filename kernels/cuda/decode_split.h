// One split of decode attention: the sums that rows make of its keys (paged_decode.cu joins them).
// To every element the operations are those of paged_prefill.cu, in its order, tile of 64 keys
// after tile.
#pragma once

#include "kernels/cuda/decode_ring.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// In f32, by one warp.
template <typename Types>
__device__ void AttendSplitF32(const PagedProblem<Types>& problem,
                               const Partials& partials,
                               const SplitRows& rows,
                               int split) {
  TileLoop<Types, 1> loop(DynamicShared<char>(), problem.head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), problem.head_dim, problem.logit_scale);
  const int lane = threadIdx.x % kWarpSize, g = lane / 4;
  const int begin = SplitBegin(split) / kTileKeys;
  const int end = min(SplitBegin(split + 1) / kTileKeys,
                      static_cast<int>(CeilDiv(rows.first.context_len, kTileKeys)));
  for (int first_row = 0; first_row < rows.count(); first_row += kWarpRows) {
    LoadQueries(problem, rows, first_row, queries);
    const int mine[2] = {first_row + g, first_row + g + 8};
    const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
    RowStates<Types> state;
    loop.Run(problem.Rows(rows.first_seq, rows.first.kv_head), begin, end, visible, queries, state,
             [](int) {});
    JoinLanes(state);
    StorePartials(problem, partials, rows, mine, split, state);
  }
}

constexpr int kWarpKeys = kTileKeys / kDecodeWarps;  // of a tile, that a warp multiplies

// By four warps, with tensor cores: 16 rows of a split. Each warp multiplies a quarter of a tile's
// keys; the largest products meet in shared memory, and so do the weights; then each warp has a
// quarter of the head's elements over all keys of the tile.
template <typename Types>
class SplitSums {
 public:
  using Memory = DecodeMemory<Types>;

  __device__ SplitSums(Memory& memory, float scale)
      : memory_(memory), queries_(nullptr, Types::kHeadDim, scale), scale_(scale) {}

  // 16 rows. Those behind the last are copies of it, not stored.
  __device__ __forceinline__ void LoadRows(const PagedProblem<Types>& problem,
                                           const SplitRows& rows,
                                           int first_row) {
    const int count = rows.count();
    queries_.Load([&](int i) {
      return problem.query + rows.Index(problem, min(first_row + i, count - 1)) * Types::kHeadDim;
    });
    const int row = first_row + static_cast<int>(threadIdx.x) % kWarpSize / 4;
    for (int r = 0; r < 2; ++r) visible_[r] = rows.Visible(min(row + 8 * r, count - 1));
  }
  __device__ __forceinline__ void Clear() {
    for (int r = 0; r < 2; ++r) max_[r] = -INFINITY, sum_[r] = 0;
#pragma unroll
    for (int n = 0; n < 2 * kPairs; ++n) {
      for (int i = 0; i < 4; ++i) values_[n][i] = 0;
    }
  }

  // Multiplies this warp's keys of the tile and leaves their largest products.
  __device__ __forceinline__ void Score(int first_key, int tile) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, g = lane / 4;
    queries_.Score(memory_.keys(tile) + warp * kWarpKeys * kPitch, kWarpKeys, scores_);
    const int before = first_key + warp * kWarpKeys;
    if (min(visible_[0], visible_[1]) - before < kWarpKeys) {
      const int left[2] = {visible_[0] - before, visible_[1] - before};
      Mask(left, scores_);
    }
    float max[2] = {-INFINITY, -INFINITY};
    LargestOf(scores_, max);
    if (lane % 4 == 0) {
      memory_.max[warp][g] = max[0];
      memory_.max[warp][g + 8] = max[1];
    }
  }

  // Leaves the weights of this warp's keys, once all largest products are there, and makes room for
  // them in the sums.
  __device__ __forceinline__ void Weigh() {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    const int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = g + 8 * r;
      float max = max_[r];
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) max = fmaxf(max, memory_.max[w][row]);
      const float decay = Decay<Types>(max_[r], max, scale_), base = BaseOf(max, scale_);
      max_[r] = max;
      char* weights = memory_.weights + row * Memory::kWeightPitch + warp * kWarpKeys * 2 + q * 4;
#pragma unroll
      for (int n = 0; n < kWarpKeys / 8; ++n) {
        *reinterpret_cast<uint32_t*>(weights + n * 16) =
            PackBf16(Weight<Types>(scores_[n][2 * r], base, scale_),
                     Weight<Types>(scores_[n][2 * r + 1], base, scale_));
      }
      sum_[r] = __fmul_rn(sum_[r], decay);
#pragma unroll
      for (int n = 0; n < 2 * kPairs; ++n) {
        for (int i = 2 * r; i < 2 * r + 2; ++i) values_[n][i] = __fmul_rn(values_[n][i], decay);
      }
    }
  }

  // Adds the values of the tile, once all weights are there.
  __device__ __forceinline__ void Add(int tile) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      uint32_t weights[4];
      LoadMatrixX4<false>(
          weights, memory_.weights + lane % 16 * Memory::kWeightPitch + step * 32 + lane / 16 * 16);
      const char* row =
          memory_.values(tile) + (step * 16 + lane % 16) * kPitch + lane / 16 * 16 + warp * 32;
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        if (warp + pair * kDecodeWarps >= kAllPairs) break;
        AddProducts(weights, row + pair * kDecodeWarps * 32, values_[2 * pair],
                    values_[2 * pair + 1]);
      }
      if (warp == 0) AddWeights(weights, sum_);
    }
  }

  __device__ __forceinline__ void Store(const PagedProblem<Types>& problem,
                                        const Partials& partials,
                                        const DecodeItem& item,
                                        int first_row) const {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    for (int r = 0; r < 2; ++r) {
      const int row = first_row + lane / 4 + 8 * r;
      if (row >= item.rows.count()) continue;
      const int64_t index = partials.Index(item.rows.SlotAndHead(problem, row), item.split);
      if (warp == 0 && lane % 4 == 0) {
        partials.max[index] = max_[r];
        partials.sum[index] = sum_[r];
      }
      float* out = partials.values + index * Types::kHeadDim + warp * 16 + lane % 4 * 2;
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        if (warp + pair * kDecodeWarps >= kAllPairs) break;
        for (int n = 0; n < 2; ++n) {
          *reinterpret_cast<float2*>(out + pair * kDecodeWarps * 16 + n * 8) =
              make_float2(values_[2 * pair + n][2 * r], values_[2 * pair + n][2 * r + 1]);
        }
      }
    }
  }

 private:
  static constexpr int kPitch = Types::Pitch(Types::kHeadDim);
  // Pairs of value tiles: warp w has pairs w, w + kDecodeWarps, ...
  static constexpr int kAllPairs = Types::kValueTiles / 2;
  static constexpr int kPairs = (kAllPairs + kDecodeWarps - 1) / kDecodeWarps;

  Memory& memory_;
  WarpQueries<Types> queries_;
  float scale_;
  int visible_[2];  // keys that the lane's rows see
  float max_[2], sum_[2];
  float values_[2 * kPairs][4];
  float scores_[kWarpKeys / 8][4];
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
