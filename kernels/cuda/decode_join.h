// Joins the splits of decode attention, in order, by the block that leaves the last sums of a
// sequence and KV head.
#pragma once

#include "kernels/cuda/split_rows.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Of a sequence's rows of one KV head. Each thread has four neighbouring elements of a row; the
// sums of several splits are on their way to it at once.
template <typename Types, int kThreads>
__device__ __forceinline__ void JoinSplits(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           const SplitRows& rows) {
  constexpr int kAtOnce = 6;
  const int num_splits = static_cast<int>(NumSplits(rows.first.context_len));
  const int groups = problem.head_dim / 4;
#pragma unroll 1
  for (int i = threadIdx.x; i < rows.count() * groups; i += kThreads) {
    const int row = i / groups, d = i % groups * 4;
    const int64_t first = partials.Index(rows.SlotAndHead(problem, row), 0);
    const auto* values =
        reinterpret_cast<const float4*>(partials.values + first * problem.head_dim + d);
    const float* maxima = partials.max + first;
    const float* sums = partials.sum + first;
    float max = -INFINITY, sum = 0;
    float4 total{0, 0, 0, 0};
#pragma unroll 1
    for (int split = 0; split < num_splits; split += kAtOnce) {
      float4 part[kAtOnce];
      float part_max[kAtOnce], part_sum[kAtOnce];
#pragma unroll
      for (int s = 0; s < kAtOnce; ++s) {
        // Those behind the last are not used.
        const int of = min(split + s, num_splits - 1);
        part_max[s] = __ldcg(maxima + of);
        part_sum[s] = __ldcg(sums + of);
        part[s] = __ldcg(values + int64_t{of} * groups);
      }
#pragma unroll
      for (int s = 0; s < kAtOnce; ++s) {
        if (split + s >= num_splits) break;
        const Join<Types> join(max, part_max[s], problem.logit_scale);
        max = join.max;
        sum = join(sum, part_sum[s]);
        total.x = join(total.x, part[s].x);
        total.y = join(total.y, part[s].y);
        total.z = join(total.z, part[s].z);
        total.w = join(total.w, part[s].w);
      }
    }
    using A = typename Types::A;
    A* out = problem.out + rows.Index(problem, row) * problem.head_dim + d;
    out[0] = FromFloat<A>(total.x / sum);
    out[1] = FromFloat<A>(total.y / sum);
    out[2] = FromFloat<A>(total.z / sum);
    out[3] = FromFloat<A>(total.w / sum);
  }
}

// After all of the block have left their sums of an item: joins what is complete now. All threads
// take part; `complete` is in shared memory.
template <typename Types, int kThreads>
__device__ __forceinline__ void FinishItem(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           const SplitRows& rows,
                                           int place,
                                           uint32_t& complete) {
  __syncthreads();
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
  __syncthreads();
  for (uint32_t rest = complete; rest != 0; rest &= rest - 1) {
    const int seq = rows.num_seqs == 1
                        ? rows.first_seq
                        : problem.PrefixRowAt(place + __ffs(static_cast<int>(rest)) - 1).seq;
    JoinSplits<Types, kThreads>(problem, partials,
                                {HeadRowsOf(problem, seq, kv_head), seq, nullptr, 1});
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
