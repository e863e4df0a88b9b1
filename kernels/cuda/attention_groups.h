// Attention by warpgroups, with wgmma: 64 rows (a query head of a token each) a warpgroup over
// tiles of 64 keys, which another one brings into shared memory. To each element these are the
// operations of attention_warp.h, in its order: a row has the same bits.
//
// The scores of a tile are multiplied while the weights of the one before are made from its scores,
// and so are the values of the one before: a warpgroup's tensor-core products and its arithmetic
// overlap, and those of the block's warpgroups do.
#pragma once

#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/attention_wgmma.h"
#include "kernels/cuda/mbarrier.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kGroupWarps = 4, kGroupThreads = kGroupWarps * kWarpSize;
constexpr int kGroupRows = kGroupWarps * kWarpRows;

// kGroups warpgroups share kStages tiles of keys and of values.
template <int kHeadDimValue,
          int kGroupsValue,
          int kStagesValue,
          bool kSplitsValue,
          bool kRegistersValue,
          bool kOnesValue>
struct GroupTypes {
  using Types = AttentionTypes<DeviceBf16, DeviceBf16, kHeadDimValue>;
  static constexpr int kHeadDim = kHeadDimValue;
  static constexpr int kGroups = kGroupsValue;
  static constexpr int kStages = kStagesValue;
  static constexpr bool kSplits = kSplitsValue;
  static constexpr bool kQueriesInRegisters = kRegistersValue;
  static constexpr bool kOnes = kOnesValue;
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kSteps = kHeadDim / 16;
  // Eight more elements of each value, of which the first is 1: their sums are the weights'.
  static constexpr int kValueTiles = kHeadDim / 8, kSumTile = kValueTiles;
  static constexpr int kAllTiles = kValueTiles + (kOnes ? 1 : 0);
  static constexpr int kKeyBytes = (kHeadDim + 63) / 64 * kKeyAtomBytes;
  static constexpr int kValueBytes = (kHeadDim + (kOnes ? 8 : 0) + 63) / 64 * kKeyAtomBytes;
  // Of a thread that multiplies, and of one that copies; together what a multiprocessor has.
  static constexpr int kMultiplyRegisters = kGroups == 2 ? (kQueriesInRegisters ? 232 : 224) : 160;
  static constexpr int kCopyRegisters = kGroups == 2 ? (kQueriesInRegisters ? 40 : 56) : 32;
};

template <typename Group>
struct GroupMemory {
  alignas(1024) unsigned char keys[Group::kStages][Group::kKeyBytes];
  unsigned char values[Group::kStages][Group::kValueBytes];
  unsigned char queries[Group::kQueriesInRegisters ? 1 : Group::kGroups][Group::kKeyBytes];
  MBarrier keys_there[Group::kStages], keys_free[Group::kStages];
  MBarrier values_there[Group::kStages], values_free[Group::kStages];

  static constexpr size_t Bytes() { return sizeof(GroupMemory) + 1024; }
};

// The same in all lanes, of which the compiler is told.
__device__ __forceinline__ int GroupOfThread() {
  return __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kGroupThreads, 0);
}

// Where the i-th tile that goes through a block lies, and the parity of its phase there.
template <typename Group>
struct Turn {
  int stage, parity;
  __device__ __forceinline__ explicit Turn(unsigned i)
      : stage(static_cast<int>(i % Group::kStages)),
        parity(static_cast<int>(i / Group::kStages % 2)) {}
};

// By all threads, before anything else.
template <typename Group>
__device__ GroupMemory<Group>& PrepareMemory() {
  auto& memory = *reinterpret_cast<GroupMemory<Group>*>(AlignShared<1024>(DynamicShared<char>()));
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Group::kStages; ++stage) {
      Prepare(memory.keys_there[stage], kGroupThreads);
      Prepare(memory.values_there[stage], kGroupThreads);
      Prepare(memory.keys_free[stage], Group::kGroups * kGroupWarps);
      Prepare(memory.values_free[stage], Group::kGroups * kGroupWarps);
    }
  }
  constexpr unsigned kOnes = 0x3f803f80;
  for (int i = threadIdx.x; Group::kOnes && i < Group::kStages * kTileKeys; i += Group::kThreads) {
    unsigned char* tile = memory.values[i / kTileKeys];
    *reinterpret_cast<uint4*>(tile + PlaceInAtoms(i % kTileKeys, Group::kHeadDim / 8)) = {
        kOnes, kOnes, kOnes, kOnes};
  }
  FenceForWgmma();
  __syncthreads();
  return memory;
}

// The copying warpgroup: tiles [0, num_tiles) of keys and values, in the order of their use, for
// one run of the multiplying ones after the other. It never waits for a copy: what has landed
// arrives at its tile's barrier, and who reads it puts the fence between it and wgmma. One of its
// warps is alone with its share of each tile, so that every instruction for a copy counts. Where a
// key does not exist the last one is copied, which nobody sees there.
template <typename Group>
class TileCopier {
 public:
  using Rows = KeyRows<DeviceBf16>;

  __device__ explicit TileCopier(GroupMemory<Group>& memory)
      : memory_(memory), thread_(static_cast<int>(threadIdx.x) % kGroupThreads) {}

  __device__ __forceinline__ void Run(const Rows& rows, int num_tiles) {
    int key_slot = 0, ahead = Find(rows, 0);
#pragma unroll 1
    for (int tile = 0; tile <= num_tiles; ++tile) {
      const int value_slot = key_slot;
      if (tile < num_tiles) {
        key_slot = rows.SlotOf(ahead, KeyOfLane(rows, tile));
        ahead = Find(rows, tile + 1);
        const Turn<Group> turn(begun_ + tile);
        WaitFor(memory_.keys_free[turn.stage], turn.parity ^ 1);
        Copy(rows, rows.keys.elements, key_slot, memory_.keys[turn.stage]);
        ArriveAfterCopies(memory_.keys_there[turn.stage]);
      }
      if (tile > 0) {
        const Turn<Group> turn(begun_ + tile - 1);
        WaitFor(memory_.values_free[turn.stage], turn.parity ^ 1);
        Copy(rows, rows.values.elements, value_slot, memory_.values[turn.stage]);
        ArriveAfterCopies(memory_.values_there[turn.stage]);
      }
    }
    begun_ += num_tiles;
  }
  // Before the thread ends.
  __device__ __forceinline__ void Finish() {
    CommitCopies();
    WaitForCopies<0>();
  }

 private:
  static constexpr int kChunks = Group::kHeadDim / 8;
  static constexpr int kCopies = kTileKeys * kChunks / kGroupThreads;
  // By half-warps, a row at a time, where it has as many chunks: a lane finds one of the rows for
  // all. Else two threads copy a row, and find it themselves.
  static constexpr bool kByHalfWarps = kChunks == kWarpSize / 2;
  static_assert(kByHalfWarps || kChunks % 2 == 0);

  // Of the row that the lane finds.
  __device__ __forceinline__ int KeyOfLane(const Rows& rows, int tile) const {
    const int lane = thread_ % kWarpSize, warp = thread_ / kWarpSize;
    const int row = kByHalfWarps ? lane % 8 * 8 + warp * 2 + lane / 16 : thread_ / 2;
    return min(tile * kTileKeys + row, rows.num_keys - 1);
  }
  __device__ __forceinline__ int Find(const Rows& rows, int tile) const {
    return rows.Block(KeyOfLane(rows, tile));
  }

  __device__ __forceinline__ void Copy(const Rows& rows,
                                       const DeviceBf16* elements,
                                       int slot,
                                       unsigned char* to) const {
    const int row_bytes = static_cast<int>(rows.row_stride) * static_cast<int>(sizeof(DeviceBf16));
    const char* from = reinterpret_cast<const char*>(elements);
    if constexpr (kByHalfWarps) {
      const int chunk = thread_ % kChunks;
      unsigned char* place = to + PlaceInAtoms(thread_ / kChunks, chunk);
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        const int64_t row = __shfl_sync(kAllLanes, slot, i, kWarpSize / 2);
        CopyAsync16(place + i * 8 * 128, from + chunk * 16 + row * row_bytes);
      }
    } else {
      const int row = thread_ / 2, first = thread_ % 2;
      const char* source = from + first * 16 + static_cast<int64_t>(slot) * row_bytes;
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        CopyAsync16(to + PlaceInAtoms(row, 2 * i + first), source + i * 32);
      }
    }
  }

  GroupMemory<Group>& memory_;
  int thread_, begun_ = 0;  // tiles, of the runs before
};

// A multiplying warpgroup's 64 queries and what it makes of them.
template <typename Group>
class GroupRowsLoop {
 public:
  using Types = typename Group::Types;

  __device__ GroupRowsLoop(GroupMemory<Group>& memory, float logit_scale)
      : memory_(memory), logit_scale_(logit_scale), group_(GroupOfThread()) {
    if (group_ == Group::kGroups - 1) ArriveAt(kTurnBarrier, 2 * kGroupThreads);
  }

  // `row(i)` is where row i's query lies, or null for zeros.
  template <typename Row>
  __device__ __forceinline__ void Load(Row&& row) {
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    if constexpr (Group::kQueriesInRegisters) {
      const int lane = thread % kWarpSize, first = thread / kWarpSize * kWarpRows + lane / 4;
      const DeviceBf16* rows[2] = {row(first), row(first + 8)};
#pragma unroll
      for (int step = 0; step < Group::kSteps; ++step) {
        for (int i = 0; i < 4; ++i) {
          const DeviceBf16* p = rows[i % 2];
          const int d = step * 16 + i / 2 * 8 + lane % 4 * 2;
          queries_[step][i] = p == nullptr ? 0u : *reinterpret_cast<const uint32_t*>(p + d);
        }
      }
    } else {
      constexpr int kChunks = Group::kHeadDim / 8;
      unsigned char* to = memory_.queries[group_];
      WaitAt(kLoadBarrier + group_, kGroupThreads);  // all have left the run before
#pragma unroll 4
      for (int i = thread; i < kGroupRows * kChunks; i += kGroupThreads) {
        const DeviceBf16* p = row(i / kChunks);
        unsigned char* place = to + PlaceInAtoms(i / kChunks, i % kChunks);
        if (p == nullptr) {
          *reinterpret_cast<uint4*>(place) = {0, 0, 0, 0};
        } else {
          CopyAsync16(place, p + i % kChunks * 8);
        }
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
        WgmmaRows<kKeyTiles>(scores, queries_[step], AtElements(keys, step), step > 0);
      }
    } else {
      const SharedMatrix queries = MatrixInShared(memory_.queries[group_]);
#pragma unroll
      for (int step = 0; step < Group::kSteps; ++step) {
        WgmmaShared(scores, AtElements(queries, step), AtElements(keys, step), step > 0);
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
      WgmmaTransposed<Group::kAllTiles>(values, weights[step], AtRows(tile, step),
                                        step > 0 || !empty);
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
