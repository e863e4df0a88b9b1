// The rows that go through a split of decode attention, their queries, and where their sums are
// left.
#pragma once

#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Sums of one row and split, of head_dim values: [slot][num_heads][max_splits].
struct Partials {
  float* values;  // [...][head_dim]
  float* max;
  float* sum;
  int max_splits;
  uint32_t* arrived;  // [num_seqs, num_kv_heads] splits that are done
  uint32_t* queue;    // items that were taken; blocks that are done

  __device__ int64_t Index(int64_t slot_and_head, int split) const {
    return slot_and_head * max_splits + split;
  }
};
constexpr int kQueueCounters = 2;

// Where a call's sums go, in the workspace.
template <typename Types>
Result<Partials> TakePartials(Context& context, const PagedProblem<Types>& problem) {
  const int64_t max_splits = problem.MaxSplits();
  const int64_t count = int64_t{problem.num_seqs} * problem.num_heads * max_splits;
  const int64_t floats = count * (problem.head_dim + 2);
  LONGHAND_ASSIGN_OR_RETURN(
      void* memory,
      context.attention.Take(context.stream, static_cast<size_t>(floats) * sizeof(float)));
  LONGHAND_ASSIGN_OR_RETURN(
      void* arrived,
      context.attention_arrived.Take(context.stream, static_cast<size_t>(AttentionArrivedBytes(
                                                         problem.num_seqs, problem.num_kv_heads))));
  auto* values = static_cast<float*>(memory);
  float* max = values + count * problem.head_dim;
  auto* counters = static_cast<uint32_t*>(arrived);
  return Partials{
      values, max, max + count, static_cast<int>(max_splits), counters + kQueueCounters, counters};
}

// The rows that go through a split together: a sequence's of one KV head, or those of several
// sequences of a prefix group, whose keys are the first one's.
struct SplitRows {
  HeadRows first;
  int first_seq;
  const int4* prefix_rows;  // of the sequences; null for one
  int num_seqs;

  __device__ int count() const {
    return prefix_rows == nullptr ? first.count() : num_seqs * first.group;
  }
  // Of several sequences each sees all keys of the split.
  __device__ int Visible(int row) const {
    if (prefix_rows == nullptr) return first.Visible(row);
    return row < count() ? first.context_len : 0;
  }
  // Of the row in [num_tokens, num_heads].
  template <typename Types>
  __device__ int64_t Index(const PagedProblem<Types>& problem, int row) const {
    if (prefix_rows == nullptr) return first.Index(row, problem.num_heads);
    return HeadIndex(problem, problem.cu_query_lens[prefix_rows[first.by_group.Quotient(row)].x],
                     row);
  }
  // Tokens have partials by number when all are decode, else by sequence: each has one.
  template <typename Types>
  __device__ int64_t SlotAndHead(const PagedProblem<Types>& problem, int row) const {
    if (problem.share == Share::kAll) return Index(problem, row);
    return HeadIndex(
        problem, prefix_rows == nullptr ? first_seq : prefix_rows[first.by_group.Quotient(row)].x,
        row);
  }

 private:
  template <typename Types>
  __device__ int64_t HeadIndex(const PagedProblem<Types>& problem, int64_t place, int row) const {
    return place * problem.num_heads + first.kv_head * first.group +
           first.by_group.Remainder(row, first.by_group.Quotient(row));
  }
};

template <typename Types>
__device__ __forceinline__ void LoadQueries(const PagedProblem<Types>& problem,
                                            const SplitRows& rows,
                                            int first_row,
                                            WarpQueries<Types>& queries) {
  queries.Load([&](int i) {
    const int row = first_row + i;
    return row < rows.count() ? problem.query + rows.Index(problem, row) * problem.head_dim
                              : nullptr;
  });
}

// Leaves a warp's sums of the split.
template <typename Types>
__device__ __forceinline__ void StorePartials(const PagedProblem<Types>& problem,
                                              const Partials& partials,
                                              const SplitRows& rows,
                                              const int (&mine)[2],
                                              int split,
                                              const RowStates<Types>& state) {
  const int q = threadIdx.x % 4;
  for (int r = 0; r < 2; ++r) {
    if (mine[r] >= rows.count()) continue;
    const int64_t index = partials.Index(rows.SlotAndHead(problem, mine[r]), split);
    if (q == 0) {
      partials.max[index] = state.max[r];
      partials.sum[index] = state.sum[r];
    }
    float* values = partials.values + index * problem.head_dim;
#pragma unroll
    for (int n = 0; n < Types::kValueTiles; ++n) {
      if (n * 8 >= problem.head_dim) break;
      *reinterpret_cast<float2*>(values + n * 8 + q * 2) =
          make_float2(state.values[n][2 * r], state.values[n][2 * r + 1]);
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
