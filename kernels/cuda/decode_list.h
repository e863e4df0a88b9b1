// What decode attention has to do, as one list of items that blocks take in turn: splits of the
// sequences' keys, for each KV head. A sequence's share of the list are its prefix group's splits,
// where it is the first of it, and those of its own.
#pragma once

#include "kernels/cuda/split_rows.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// An item: a split of the rows of one KV head, of the sequences of prefix rows [place, place +
// rows.num_seqs).
struct DecodeItem {
  SplitRows rows;
  int place, split;
};

// Blocks take items as they come to them, so that who has joined splits takes fewer. One thread's.
class ItemQueue {
 public:
  __device__ explicit ItemQueue(uint32_t* queue) : queue_(queue) {}

  __device__ __forceinline__ void Take() {
    taken_ = static_cast<int>(gridDim.x + atomicAdd(queue_, 1u));
    has_taken_ = true;
  }
  // The item that was taken last.
  __device__ int taken() const { return taken_; }
  // Leaves it for the block's other threads, where it is new.
  __device__ __forceinline__ void Publish(int& upcoming) {
    if (has_taken_) upcoming = taken_;
    has_taken_ = false;
  }
  // The last block leaves the counters as they were.
  __device__ __forceinline__ void Leave() {
    __threadfence();
    if (atomicAdd(queue_ + 1, 1u) == gridDim.x - 1) queue_[0] = queue_[1] = 0;
  }

 private:
  uint32_t* queue_;
  int taken_ = 0;
  bool has_taken_ = false;
};

// The items of kEntries sequences at a time, in the block's shared memory, so that going on to the
// next item reads no global memory.
template <int kEntries>
class DecodeList {
 public:
  // The items of the sequences of prefix rows [first, first + kEntries), of which the first is the
  // begin-th of all. By as many threads, which are all of the block and done with the list before.
  template <typename Types>
  __device__ void Fill(const PagedProblem<Types>& problem, int first, int begin) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    const Entry mine = Describe(problem, first + static_cast<int>(threadIdx.x));
    int end = mine.end;
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int before = __shfl_up_sync(kAllLanes, end, step);
      if (lane >= step) end += before;
    }
    if (lane == kWarpSize - 1) warp_ends_[warp] = end;
    first_ = first;
    begin_ = begin;
    entries_[threadIdx.x] = mine;
    __syncthreads();
    for (int i = 0; i < warp; ++i) end += warp_ends_[i];
    entries_[threadIdx.x].end = end;
    __syncthreads();
  }

  // The same by one warp.
  template <typename Types>
  __device__ void FillByWarp(const PagedProblem<Types>& problem, int first, int begin) {
    constexpr int kEach = kEntries / kWarpSize;
    const int lane = threadIdx.x % kWarpSize;
    Entry mine[kEach];
    int count = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      mine[i] = Describe(problem, first + lane * kEach + i);
      mine[i].end = count += mine[i].end;
    }
    int end = count;
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int before = __shfl_up_sync(kAllLanes, end, step);
      if (lane >= step) end += before;
    }
    __syncwarp();  // all have read the end of the list before
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      mine[i].end += end - count;
      entries_[lane * kEach + i] = mine[i];
    }
    first_ = first;
    begin_ = begin;
    __syncwarp();
  }

  // The first item behind the list, of all.
  __device__ int end() const { return begin_ + entries_[kEntries - 1].end; }

  // `entry`: that of an item before it in the list, or 0; becomes its own.
  template <typename Types>
  __device__ __forceinline__ DecodeItem ItemAt(const PagedProblem<Types>& problem,
                                               int item,
                                               int& entry) const {
    item -= begin_;
    while (item >= entries_[entry].end) ++entry;
    // From the end: first the splits of its own.
    int of = entry, num_seqs = 1, left = entries_[entry].end - 1 - item;
    const Entry& owner = entries_[entry];
    int split = owner.num_splits - 1;
    const int own = (owner.num_splits - owner.num_shared) * problem.num_kv_heads;
    if (left >= own) {
      left -= own;
      split = owner.num_shared - 1;
      // Blocks beside each other read the same keys.
      const int seqs_per_tile = SeqsPerTile(problem), place = first_ + entry;
      const int tiles = (owner.group_end - place + seqs_per_tile - 1) / seqs_per_tile;
      const int skipped = left % tiles * seqs_per_tile;
      left /= tiles;
      num_seqs = min(seqs_per_tile, owner.group_end - place - skipped);
      of = entry + skipped;
    }
    // Or the heads of the same tokens, which lie beside each other.
    const int split_back = problem.by_kv_head.Quotient(left);
    split -= split_back;
    const int kv_head = problem.by_kv_head.Remainder(left, split_back), place = first_ + of;
    // A group may go on behind the sequences at hand.
    const Entry first = of < kEntries ? entries_[of] : Describe(problem, place);
    DecodeItem result{{{first.first_token, first.query_len, first.context_len, kv_head,
                        problem.by_group.divisor(), problem.by_group},
                       first.seq,
                       nullptr,
                       num_seqs},
                      place,
                      split};
    if (num_seqs > 1) result.rows.prefix_rows = problem.prefix_rows + place;
    return result;
  }

 private:
  struct Entry {
    int end;  // of its items, counted from the first sequence at hand; while filled: their number
    int seq, first_token, query_len, context_len;
    int num_splits, num_shared;  // splits of its own and those that its prefix group shares
    int group_end;               // of its prefix group, as a prefix row
  };

  template <typename Types>
  __device__ static int SeqsPerTile(const PagedProblem<Types>& problem) {
    return problem.by_group.Quotient(kWarpRows);
  }

  // Of the i-th prefix row: nothing where there is none, or it is prefill's.
  template <typename Types>
  __device__ static Entry Describe(const PagedProblem<Types>& problem, int i) {
    if (i >= problem.num_seqs) return {};
    const PrefixRow row = problem.PrefixRowAt(i);
    const HeadRows rows = HeadRowsOf(problem, row.seq, 0);
    if (!problem.IsMine(rows.query_len, Share::kDecode)) return {};
    const int seqs_per_tile = SeqsPerTile(problem);
    const bool shares = row.group_end - row.group_begin > 1 && seqs_per_tile > 1;
    const int num_splits = static_cast<int>(NumSplits(rows.context_len));
    const int num_shared = shares ? WholeSplits(row.num_keys) : 0;
    // Row tiles that go through the shared splits in its name.
    const int tiles = num_shared > 0 && row.group_begin == i
                          ? (row.group_end - i + seqs_per_tile - 1) / seqs_per_tile
                          : 0;
    return {(num_splits + (tiles - 1) * num_shared) * problem.num_kv_heads,
            row.seq,
            rows.first_token,
            rows.query_len,
            rows.context_len,
            num_splits,
            num_shared,
            row.group_end};
  }

  Entry entries_[kEntries];
  int warp_ends_[kEntries / kWarpSize];
  int first_, begin_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
