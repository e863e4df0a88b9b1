// One split of decode attention by a warpgroup, with wgmma: keys and values are the products' rows,
// up to 16 rows of queries their columns, so that no half of an instruction is empty. To each
// element these are the operations of decode_split.h in its order: a row has the same bits.
//
// The products of the next tile's scores are made together with those of this tile's values.
#pragma once

#include "kernels/cuda/decode_group_memory.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kDecodeGroupThreads = kDecodeThreads;

// Numbers of barriers, behind FinishItem's.
constexpr int kGroupQueriesBarrier = 2, kGroupLargestBarrier = 3, kGroupWeightsBarrier = 4;

// Starts to bring 16 rows of queries, or eight where there are no more. Those behind the last are
// copies of it. By all of the warpgroup, which has multiplied with those before.
__device__ __forceinline__ void StartQueries(const PagedProblem<DecodeGroupTypes>& problem,
                                             const SplitRows& rows,
                                             int first_row,
                                             unsigned char* queries) {
  constexpr int kChunks = DecodeGroupTypes::kHeadDim / 8;
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % kChunks;
  unsigned char* to = queries + chunk / 8 * kQueryHalfBytes + PlaceInAtom(thread / kChunks, chunk);
  const int last = rows.count() - 1;
#pragma unroll
  for (int i = 0; i < kWarpRows / 8; ++i) {
    // Not a break: the compiler would take lanes to be apart behind the loop, and make descriptors
    // for each.
    if (first_row + 8 * i > last) continue;
    const int64_t index = rows.Index(problem, min(first_row + thread / kChunks + 8 * i, last));
    CopyAsync16(to + i * kAtomBytes,
                problem.query + index * DecodeGroupTypes::kHeadDim + chunk * 8);
  }
  CommitCopies();
}

// Of 8 kTiles rows from `first_row` on, whose queries were started. Lane 4 g + q of warp w has, of
// a tile's scores, keys 16 w + g and g + 8 and rows 8 j + 2 q and the next; of the sums, elements
// 16 w + g and g + 8 of each half of the head.
template <int kTiles>
class GroupSplit {
 public:
  using Types = DecodeGroupTypes;
  using Position = RingPosition<kRingTiles>;

  __device__ __forceinline__
  GroupSplit(DecodeGroupMemory& memory, const SplitRows& rows, int first_row, float logit_scale)
      : memory_(memory), logit_scale_(logit_scale), first_row_(first_row) {
    const int last = rows.count() - 1;
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      for (int c = 0; c < 2; ++c) {
        max_[j][c] = -INFINITY;
        visible_[j][c] = rows.Visible(min(RowOf(j, c), last));
        least_ = min(least_, visible_[j][c]);
      }
    }
    PinOperands(ones_);
    WaitForCopies<0>();
    FenceForWgmma();
    WaitAt(kGroupQueriesBarrier, kDecodeGroupThreads);
  }

  // The keys [begin, end), whose tiles come from `at` on; moves it behind them.
  __device__ __forceinline__ void Run(int begin, int end, Position& at) {
    float scores[kTiles][4];
    WaitFor(memory_.keys_there[at.stage], at.parity);
    BeginWgmma(scores);
    Score(at.stage, scores);
    FinishProducts(scores);
    Free(memory_.keys_free[at.stage]);
    Weigh(begin, end, at, scores);
#pragma unroll 1
    for (int key = begin + kTileKeys; key < end; key += kTileKeys) {
      Position next = at;
      next.Advance();
      WaitFor(memory_.keys_there[next.stage], next.parity);
      WaitFor(memory_.values_there[at.stage], at.parity);
      PinAll();
      BeginWgmma(scores);
      Score(next.stage, scores);
      AddValues(at.stage);
      FinishProducts(scores);
      Free(memory_.keys_free[next.stage]);
      Free(memory_.values_free[at.stage]);
      at = next;
      Weigh(key, end, at, scores);
    }
    WaitFor(memory_.values_there[at.stage], at.parity);
    PinAll();
    BeginWgmma(sum_);
    AddValues(at.stage);
    FinishProducts(sum_);
    Free(memory_.values_free[at.stage]);
    at.Advance();
  }

  __device__ __forceinline__ void Store(const PagedProblem<Types>& problem,
                                        const Partials& partials,
                                        const SplitRows& rows,
                                        int split) const {
    const int lane = Lane(), g = lane / 4;
    const int count = rows.count();
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      for (int c = 0; c < 2; ++c) {
        const int row = RowOf(j, c);
        if (row >= count) continue;
        const int64_t index = partials.Index(rows.SlotAndHead(problem, row), split);
        if (Warp() == 0 && g == 0) {
          partials.max[index] = max_[j][c];
          partials.sum[index] = sum_[j][c];
        }
        float* out = partials.values + index * Types::kHeadDim + Warp() * 16 + g;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          out[half * 64] = values_[half][j][c];
          out[half * 64 + 8] = values_[half][j][c + 2];
        }
      }
    }
  }

 private:
  __device__ static int Lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }
  __device__ static int Warp() { return static_cast<int>(threadIdx.x) / kWarpSize; }
  // Of the lane's columns: element c of tile j.
  __device__ int RowOf(int j, int c) const { return first_row_ + 8 * j + Lane() % 4 * 2 + c; }

  __device__ __forceinline__ static void Free(MBarrier& barrier) {
    if (Lane() == 0) Arrive(barrier);
  }
  __device__ __forceinline__ void PinAll() {
    PinSums(values_[0]);
    PinSums(values_[1]);
    PinSums(sum_);
  }
  __device__ __forceinline__ void FinishProducts(float (&d)[kTiles][4]) {
    CommitWgmma();
    WaitForWgmma<0>();
    PinSums(d);
    PinAll();
  }

  __device__ __forceinline__ void Score(int stage, float (&scores)[kTiles][4]) const {
#pragma unroll
    for (int step = 0; step < Types::kSteps; ++step) {
      MultiplyShared(scores, KeysAt(memory_.keys[stage], step), QueriesAt(memory_.queries, step),
                     step > 0);
    }
  }

  // The values times the weights; and the weights themselves, as values of 1.
  __device__ __forceinline__ void AddValues(int stage) {
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      const SharedMatrix weights = AtStep(MatrixInShared(memory_.weights), step);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        MultiplyTransposedShared(values_[half], ValuesAt(memory_.values[stage], half, step),
                                 weights);
      }
      MultiplyRegisters<false>(sum_, ones_[0], weights, true);
    }
  }

  // Scores become weights, in shared memory for all warps; the sums are made ready for them. Keys
  // from `end` on are nobody's.
  __device__ __forceinline__ void Weigh(int first_key,
                                        int end,
                                        const Position& at,
                                        float (&scores)[kTiles][4]) {
    const int lane = Lane(), g = lane / 4, q = lane % 4, first = first_key + Warp() * 16 + g;
    if (first_key + kTileKeys > least_) {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        for (int i = 0; i < 4; ++i) {
          if (first + i / 2 * 8 >= visible_[j][i % 2]) scores[j][i] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      float max[2] = {fmaxf(scores[j][0], scores[j][2]), fmaxf(scores[j][1], scores[j][3])};
#pragma unroll
      for (int step = 4; step < kWarpSize; step *= 2) {
        for (int c = 0; c < 2; ++c) {
          max[c] = fmaxf(max[c], __shfl_xor_sync(kAllLanes, max[c], step));
        }
      }
      if (g == 0) {
        *reinterpret_cast<float2*>(&memory_.max[Warp()][8 * j + 2 * q]) =
            make_float2(max[0], max[1]);
      }
    }
    WaitAt(kGroupLargestBarrier, kDecodeGroupThreads);
    uint32_t weights[2 * kTiles];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      float max[2] = {max_[j][0], max_[j][1]}, decay[2], base[2];
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) {
        const float2 of = *reinterpret_cast<const float2*>(&memory_.max[w][8 * j + 2 * q]);
        max[0] = fmaxf(max[0], of.x);
        max[1] = fmaxf(max[1], of.y);
      }
      for (int c = 0; c < 2; ++c) {
        decay[c] = Decay<Types>(max_[j][c], max[c], logit_scale_);
        base[c] = BaseOf(max[c], logit_scale_);
        max_[j][c] = max[c];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[j][i] = Weight<Types>(scores[j][i], base[i % 2], logit_scale_);
        sum_[j][i] = __fmul_rn(sum_[j][i], decay[i % 2]);
        values_[0][j][i] = __fmul_rn(values_[0][j][i], decay[i % 2]);
        values_[1][j][i] = __fmul_rn(values_[1][j][i], decay[i % 2]);
      }
      weights[2 * j] = PackBf16(scores[j][0], scores[j][1]);
      weights[2 * j + 1] = PackBf16(scores[j][2], scores[j][3]);
    }
    // Lanes 8 m .. 8 m + 7 name rows of tile m / 2, of the first or second eight of the warp's
    // keys.
    const int tile = kTiles == 1 ? 0 : lane / 16, chunk = Warp() * 2 + lane / 8 % 2;
    StoreMatrixTransposed(memory_.weights + tile * kAtomBytes + PlaceInAtom(lane % 8, chunk),
                          weights);
    if (end - first_key < kTileKeys) ClearValues(end - first_key, at);
    FenceForWgmma();
    WaitAt(kGroupWeightsBarrier, kDecodeGroupThreads);
  }

  // What lies behind the last value may be anything, NaN too, and meets a weight of 0.
  __device__ __forceinline__ void ClearValues(int count, const Position& at) {
    constexpr int kChunks = Types::kHeadDim / 8;
    WaitFor(memory_.values_there[at.stage], at.parity);
    const int thread = static_cast<int>(threadIdx.x), chunk = thread % kChunks;
    unsigned char* tile = memory_.values[at.stage] + chunk / 8 * kAtomBytes;
#pragma unroll 1
    for (int key = count + thread / kChunks; key < kTileKeys;
         key += kDecodeGroupThreads / kChunks) {
      *reinterpret_cast<uint4*>(tile + key / 8 * kKeyGroupBytes + PlaceInAtom(key % 8, chunk)) =
          make_uint4(0, 0, 0, 0);
    }
  }

  DecodeGroupMemory& memory_;
  float logit_scale_;
  int first_row_;
  int least_ = 0x7fffffff;  // keys that each of the lane's rows sees
  int visible_[kTiles][2];
  float max_[kTiles][2];
  float sum_[kTiles][4] = {};  // of the weights: the same in all rows of the product
  float values_[2][kTiles][4] = {};
  uint32_t ones_[1][4] = {{0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80}};
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
