// Attention by warpgroups, with wgmma: 64 rows (a query head of a token each) a warpgroup over
// tiles of 64 keys, which another one brings into shared memory. To each element these are the
// operations of attention_warp.h, in its order: a row has the same bits.
//
// The scores of a tile are multiplied while the weights of the one before are made from its scores,
// and so are the values of the one before: a warpgroup's tensor-core products and its arithmetic
// overlap, and those of the block's warpgroups do.
#pragma once

#include "kernels/cuda/group_memory.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// A multiplying warpgroup's 64 queries and what it makes of them.
template <typename Group>
class GroupRowsLoop {
 public:
  using Types = typename Group::Types;

  __device__ GroupRowsLoop(GroupMemory<Group>& memory, float logit_scale)
      : memory_(memory), logit_scale_(logit_scale), group_(GroupOfThread()) {
    if (group_ == Group::kGroups - 1) ArriveAt(kTurnBarrier, 2 * kGroupThreads);
  }

  // Row i's query lies `stride` elements times index(i) from `queries` on; -1: zeros.
  template <typename Index>
  __device__ __forceinline__ void Load(const DeviceBf16* queries, int64_t stride, Index&& index) {
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const int lane = thread % kWarpSize, warp = thread / kWarpSize;
    if constexpr (Group::kQueriesInRegisters) {
      const int first = warp * kWarpRows + lane / 4;
      const int rows[2] = {index(first), index(first + 8)};
#pragma unroll
      for (int step = 0; step < Group::kSteps; ++step) {
        for (int i = 0; i < 4; ++i) {
          const DeviceBf16* p =
              queries + rows[i % 2] * stride + step * 16 + i / 2 * 8 + lane % 4 * 2;
          queries_[step][i] = rows[i % 2] < 0 ? 0u : *reinterpret_cast<const uint32_t*>(p);
        }
      }
    } else {
      // By half-warps, as TileCopier copies keys.
      constexpr int kChunks = Group::kHeadDim / 8;
      static_assert(kChunks == kWarpSize / 2);
      const int mine = index(lane % 8 * 8 + warp * 2 + lane / 16), chunk = thread % kChunks;
      unsigned char* place = memory_.queries[group_] + PlaceInAtoms(thread / kChunks, chunk);
      WaitAt(kLoadBarrier + group_, kGroupThreads);  // all have left the run before
#pragma unroll
      for (int i = 0; i < kGroupRows / 8; ++i) {
        const int row = __shfl_sync(kAllLanes, mine, i, kWarpSize / 2);
        CopyAsync16(place + i * 8 * 128, queries + max(row, 0) * stride + chunk * 8,
                    row < 0 ? 0 : 16);
      }
      CommitCopies();
      WaitForCopies<0>();
      FenceForWgmma();
      WaitAt(kLoadBarrier + group_, kGroupThreads);
    }
  }

  // Tiles [0, num_tiles). visible[r]: the keys that row r of the lane's two may see; no row of the
  // warpgroup sees fewer than `least`. ends(tile): a split ends with the tile. `state` begins
  // empty.
  template <typename Ends>
  __device__ __forceinline__ void Run(
      int num_tiles, const int (&visible)[2], int least, Ends&& ends, RowStates<Types>& state) {
    float scores[kKeyTiles][4];
    uint32_t weights[kTileKeys / 16][4];
    float values[Group::kAllTiles][4] = {};
    float max[2] = {-INFINITY, -INFINITY}, split_max[2] = {}, decay[2];
    const Turn<Group> first(begun_);
    WaitFor(memory_.keys_there[first.stage], first.parity);
    FenceForWgmma();
    BeginWgmma(scores);
    Score(first.stage, scores);
    CommitWgmma();
    WaitForWgmma<0>();
    PinSums(scores);
    Free(memory_.keys_free[first.stage]);
    Weigh(visible, least, 0, scores, max, decay);
    // Of the tile before: whether a split ended with it. The products with its values are waited
    // for in the next turn of the loop, so that they are made while the next weights are.
    bool split_ended = false;
    float sum[2] = {0, 0};
#pragma unroll 1
    for (int tile = 0; tile + 1 < num_tiles; ++tile) {
      const bool empty = FinishTile(tile, split_ended, split_max, decay, values, sum, state);
      Pack(scores, weights);
      const Turn<Group> turn(begun_ + tile), next(begun_ + tile + 1);
      WaitFor(memory_.keys_there[next.stage], next.parity);
      WaitFor(memory_.values_there[turn.stage], turn.parity);
      FenceForWgmma();
      WaitAt(kTurnBarrier + group_, 2 * kGroupThreads);
      PinOperands(weights);
      PinSums(values);
      BeginWgmma(scores);
      Score(next.stage, scores);
      CommitWgmma();
      AddValues(turn.stage, weights, empty, values);
      CommitWgmma();
      if constexpr (!Group::kOnes) {
#pragma unroll
        for (int step = 0; step < kTileKeys / 16; ++step) AddWeights(weights[step], sum);
      }
      ArriveAt(kTurnBarrier + (group_ + 1) % Group::kGroups, 2 * kGroupThreads);
      WaitForWgmma<1>();
      PinSums(scores);
      Free(memory_.keys_free[next.stage]);
      split_ended = Group::kSplits && ends(tile);
      for (int r = 0; r < 2; ++r) {
        split_max[r] = max[r];
        if (split_ended) max[r] = -INFINITY;
      }
      Weigh(visible, least, (tile + 1) * kTileKeys, scores, max, decay);
    }
    const bool empty = FinishTile(num_tiles - 1, split_ended, split_max, decay, values, sum, state);
    Pack(scores, weights);
    begun_ += num_tiles;
    const Turn<Group> last(begun_ - 1);
    WaitFor(memory_.values_there[last.stage], last.parity);
    FenceForWgmma();
    PinOperands(weights);
    BeginWgmma(values);
    AddValues(last.stage, weights, empty, values);
    CommitWgmma();
    if constexpr (!Group::kOnes) {
#pragma unroll
      for (int step = 0; step < kTileKeys / 16; ++step) AddWeights(weights[step], sum);
    }
    WaitForWgmma<0>();
    PinSums(values);
    Free(memory_.values_free[last.stage]);
    if constexpr (Group::kSplits) {
      JoinValues(values, sum, max, state);
    } else {
      for (int r = 0; r < 2; ++r) {
        state.max[r] = max[r];
        state.sum[r] = SumOf(values, sum, r);
      }
#pragma unroll
      for (int n = 0; n < Group::kValueTiles; ++n) {
        for (int i = 0; i < 4; ++i) state.values[n][i] = values[n][i];
      }
    }
  }

 private:
  // Numbers of barriers.
  static constexpr int kLoadBarrier = 1, kTurnBarrier = kLoadBarrier + Group::kGroups;

  __device__ __forceinline__ static void Free(MBarrier& barrier) {
    if (threadIdx.x % kWarpSize == 0) Arrive(barrier);
  }

  // Waits for the values of the tile before this one and makes the sums ready for this one's: true
  // where a split begins with it.
  __device__ __forceinline__ bool FinishTile(int tile,
                                             bool split_ended,
                                             const float (&split_max)[2],
                                             const float (&decay)[2],
                                             float (&values)[Group::kAllTiles][4],
                                             float (&sum)[2],
                                             RowStates<Types>& state) {
    WaitForWgmma<0>();
    PinSums(values);
    if (tile == 0) return true;
    Free(memory_.values_free[Turn<Group>(begun_ + tile - 1).stage]);
    if (split_ended) {
      JoinValues(values, sum, split_max, state);
      sum[0] = sum[1] = 0;
    } else {
      DecayValues(decay, values);
      for (int r = 0; r < 2; ++r) sum[r] = __fmul_rn(sum[r], decay[r]);
    }
    return split_ended;
  }

  __device__ __forceinline__ void Score(int stage, float (&scores)[kKeyTiles][4]) {
    const SharedMatrix keys = MatrixInShared(memory_.keys[stage]);
    if constexpr (Group::kQueriesInRegisters) {
#pragma unroll
      for (int step = 0; step < Group::kSteps; ++step) {
        MultiplyRegisters<false>(scores, queries_[step], AtElements(keys, step), step > 0);
      }
    } else {
      const SharedMatrix queries = MatrixInShared(memory_.queries[group_]);
#pragma unroll
      for (int step = 0; step < Group::kSteps; ++step) {
        MultiplyShared(scores, AtElements(queries, step), AtElements(keys, step), step > 0);
      }
    }
  }

  __device__ __forceinline__ void AddValues(int stage,
                                            const uint32_t (&weights)[kTileKeys / 16][4],
                                            bool empty,
                                            float (&values)[Group::kAllTiles][4]) {
    const SharedMatrix tile = TransposedInShared(memory_.values[stage]);
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      MultiplyTransposed(values, weights[step], AtRows(tile, step), step > 0 || !empty);
    }
  }

  // Scores become weights; `max` and what the sums so far are multiplied by follow.
  __device__ __forceinline__ void Weigh(const int (&visible)[2],
                                        int least,
                                        int first_key,
                                        float (&scores)[kKeyTiles][4],
                                        float (&max)[2],
                                        float (&decay)[2]) {
    if (first_key + kTileKeys > least) {
      const int left[2] = {visible[0] - first_key, visible[1] - first_key};
      Mask(left, scores);
    }
    float base[2];
    const float before[2] = {max[0], max[1]};
    LargestOf(scores, max);
    for (int r = 0; r < 2; ++r) {
      decay[r] = Decay<Types>(before[r], max[r], logit_scale_);
      base[r] = BaseOf(max[r], logit_scale_);
    }
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = Weight<Types>(scores[n][i], base[i / 2], logit_scale_);
      }
    }
  }

  __device__ __forceinline__ static void Pack(const float (&scores)[kKeyTiles][4],
                                              uint32_t (&weights)[kTileKeys / 16][4]) {
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      for (int i = 0; i < 4; ++i) {
        const float (&tile)[4] = scores[2 * step + i / 2];
        weights[step][i] = PackBf16(tile[i % 2 * 2], tile[i % 2 * 2 + 1]);
      }
    }
  }

  __device__ __forceinline__ static void DecayValues(const float (&decay)[2],
                                                     float (&values)[Group::kAllTiles][4]) {
    // Multiplied by 1 they would stay what they are.
    if (__ballot_sync(kAllLanes, decay[0] != 1 || decay[1] != 1) == 0) return;
#pragma unroll
    for (int n = 0; n < Group::kAllTiles; ++n) {
      for (int i = 0; i < 4; ++i) values[n][i] = __fmul_rn(values[n][i], decay[i / 2]);
    }
  }

  __device__ __forceinline__ static float SumOf(const float (&values)[Group::kAllTiles][4],
                                                const float (&sum)[2],
                                                int r) {
    if constexpr (Group::kOnes) {
      return values[Group::kSumTile][2 * r];
    } else {
      return sum[r];
    }
  }
  __device__ __forceinline__ void JoinValues(const float (&values)[Group::kAllTiles][4],
                                             const float (&sum)[2],
                                             const float (&max)[2],
                                             RowStates<Types>& total) const {
    for (int r = 0; r < 2; ++r) {
      const Join<Types> join(total.max[r], max[r], logit_scale_);
      total.max[r] = join.max;
      total.sum[r] = join(total.sum[r], SumOf(values, sum, r));
#pragma unroll
      for (int n = 0; n < Group::kValueTiles; ++n) {
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          total.values[n][i] = join(total.values[n][i], values[n][i]);
        }
      }
    }
  }

  GroupMemory<Group>& memory_;
  float logit_scale_;
  int group_, begun_ = 0;  // tiles, of the runs before
  uint32_t queries_[Group::kQueriesInRegisters ? Group::kSteps : 1][4];
};

// The lane's parts of finished rows, divided by their sums. Several divisions by one number share
// its reciprocal: two steps from the product round as a division does, where no exponent is near
// its end.
template <typename Types>
__device__ __forceinline__ void StoreRows(const RowStates<Types>& state,
                                          DeviceBf16* const (&rows)[2]) {
  const int q = threadIdx.x % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (rows[r] == nullptr) continue;
    const float sum = state.sum[r], reciprocal = 1 / sum;
    float least = fabsf(sum), largest = least;
#pragma unroll
    for (int n = 0; n < Types::kValueTiles; ++n) {
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        least = fminf(least, fabsf(state.values[n][i]));
        largest = fmaxf(largest, fabsf(state.values[n][i]));
      }
    }
    const auto store = [&](auto&& quotient) {
#pragma unroll
      for (int n = 0; n < Types::kValueTiles; ++n) {
        *reinterpret_cast<uint32_t*>(rows[r] + n * 8 + q * 2) =
            PackBf16(quotient(state.values[n][2 * r]), quotient(state.values[n][2 * r + 1]));
      }
    };
    if (least > 0x1p-60f && largest < 0x1p60f) {
      store([&](float x) {
        float y = __fmul_rn(x, reciprocal);
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          y = __fmaf_rn(__fmaf_rn(-sum, y, x), reciprocal, y);
        }
        return y;
      });
    } else {
      store([&](float x) { return x / sum; });
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
