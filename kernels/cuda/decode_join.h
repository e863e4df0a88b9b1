// Joins the splits of decode attention, in order, by the block that leaves the last sums of a
// sequence and KV head.
#pragma once

#include "kernels/cuda/mbarrier.h"
#include "kernels/cuda/split_rows.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Of a sequence's rows of one KV head. A warp takes a row; lane s first finds what split s of 32
// and the total are multiplied by, then each lane joins four neighbouring elements of the splits.
template <typename Types, int kThreads>
__device__ __forceinline__ void JoinSplits(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           const SplitRows& rows) {
  constexpr int kAtOnce = 8;  // splits' values that are on their way
  const int num_splits = static_cast<int>(NumSplits(rows.first.context_len));
  const int lane = threadIdx.x % kWarpSize;
  const int groups = (Types::kTensorCores ? Types::kHeadDim : problem.head_dim) / 4;
  const int group = min(lane, groups - 1);
  const float scale = problem.logit_scale;
#pragma unroll 1
  for (int row = threadIdx.x / kWarpSize; row < rows.count(); row += kThreads / kWarpSize) {
    const int64_t first = partials.Index(rows.SlotAndHead(problem, row), 0);
    const auto* values =
        reinterpret_cast<const float4*>(partials.values + first * problem.head_dim) + group;
    float max = -INFINITY, sum = 0;
    float4 total{0, 0, 0, 0};
#pragma unroll 1
    for (int begin = 0; begin < num_splits; begin += kWarpSize) {
      const bool exists = begin + lane < num_splits;
      const float mine = exists ? __ldcg(partials.max + first + begin + lane) : -INFINITY;
      const float my_sum = exists ? __ldcg(partials.sum + first + begin + lane) : 0.0f;
      float upto = mine;  // the largest of the splits up to mine
      for (int step = 1; step < kWarpSize; step *= 2) {
        const float before = __shfl_up_sync(kAllLanes, upto, step);
        if (lane >= step) upto = fmaxf(upto, before);
      }
      upto = fmaxf(upto, max);
      float before = __shfl_up_sync(kAllLanes, upto, 1);
      if (lane == 0) before = max;
      const Join<Types> join(before, mine, scale);
      const int count = min(num_splits - begin, kWarpSize);
#pragma unroll 1
      for (int s = 0; s < count; s += kAtOnce) {
        float4 part[kAtOnce];
        const float4* from = values + int64_t{begin + s} * groups;
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          // Those behind the last are not used.
          part[i] = __ldcg(from + min(i, count - 1 - s) * groups);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          Join<Types> of = join;
          of.keep = __shfl_sync(kAllLanes, join.keep, s + i);
          of.add = __shfl_sync(kAllLanes, join.add, s + i);
          const float part_sum = __shfl_sync(kAllLanes, my_sum, s + i);
          if (s + i >= count) continue;
          sum = of(sum, part_sum);
          total.x = of(total.x, part[i].x);
          total.y = of(total.y, part[i].y);
          total.z = of(total.z, part[i].z);
          total.w = of(total.w, part[i].w);
        }
      }
      max = __shfl_sync(kAllLanes, join.max, count - 1);
    }
    if (lane >= groups) continue;
    using A = typename Types::A;
    A* out = problem.out + rows.Index(problem, row) * problem.head_dim + group * 4;
    out[0] = FromFloat<A>(total.x / sum);
    out[1] = FromFloat<A>(total.y / sum);
    out[2] = FromFloat<A>(total.z / sum);
    out[3] = FromFloat<A>(total.w / sum);
  }
}

// After kThreads threads, the first of the block, have left their sums of an item: joins what is
// complete now. All of them take part; `complete` is in shared memory.
template <typename Types, int kThreads>
__device__ __forceinline__ void FinishItem(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           const SplitRows& rows,
                                           int place,
                                           uint32_t& complete) {
  constexpr int kBarrier = 1;
  WaitAt(kBarrier, kThreads);
  const int lane = threadIdx.x, kv_head = rows.first.kv_head;
  if (threadIdx.x < kWarpSize) {
    bool is_last = false;
    if (lane < rows.num_seqs) {
      __threadfence();  // for all of the block, as the barrier came before
      const int seq = rows.num_seqs == 1 ? rows.first_seq : problem.PrefixRowAt(place + lane).seq;
      const int context_len =
          rows.num_seqs == 1 ? rows.first.context_len : problem.context_lens[seq];
      uint32_t* arrived = partials.arrived + int64_t{seq} * problem.num_kv_heads + kv_head;
      is_last = atomicAdd(arrived, 1u) == static_cast<uint32_t>(NumSplits(context_len)) - 1;
      if (is_last) *arrived = 0;
      __threadfence();
    }
    const unsigned last = __ballot_sync(kAllLanes, is_last);
    if (lane == 0) complete = last;
  }
  WaitAt(kBarrier, kThreads);
  for (uint32_t rest = complete; rest != 0; rest &= rest - 1) {
    SplitRows of = rows;
    if (rows.num_seqs > 1) {
      const int seq = problem.PrefixRowAt(place + __ffs(static_cast<int>(rest)) - 1).seq;
      of = {HeadRowsOf(problem, seq, kv_head), seq, nullptr, 1};
    }
    JoinSplits<Types, kThreads>(problem, partials, of);
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
