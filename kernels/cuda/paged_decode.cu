// Attention over the paged KV cache for few new tokens: splits of the keys in parallel, then a
// join.
//
//   query          [num_tokens, num_heads, head_dim]                    f32 or bf16
//   kv_cache       [2, num_blocks, block_size, num_kv_heads, head_dim]  f32 or bf16; 0 = keys
//   block_table    [num_seqs, max_blocks]                               i32; read up to context_len
//   cu_query_lens  [num_seqs + 1]                                       i32
//   context_len    [num_seqs]                                           i32
//   out            [num_tokens, num_heads, head_dim]                    as query; summed in f32
//
// A warp takes one split (256 keys) of one KV head of one sequence, with all query heads of the
// group as rows of one matrix product. Warps go through the splits of all sequences in one list, so
// long and short contexts fill the machine alike. Each leaves its sums in the workspace; a second
// kernel joins a row's splits in order.
//
// Launch     as many one-warp blocks as fit on the device (up to 6 a multiprocessor); the join: a
//            warp for each row.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       reads 2 * context_len * num_kv_heads * head_dim elements a sequence: memory. Writes
// and
//            reads head_dim + 2 floats for each row and split.
// Workspace  num_seqs * max_blocks * block_size / 256 * num_heads * (head_dim + 2) floats.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
// Source     splits: Flash-Decoding, 2023. Written here.
#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kBlocksPerMultiprocessor = 6;  // of 35 KB of shared memory each at head_dim 128
constexpr int kJoinThreads = 128;

// Sums of one row and split, of head_dim values: [slot][num_heads][max_splits].
struct Partials {
  float* values;  // [...][head_dim]
  float* max;
  float* sum;
  int max_splits;

  __device__ int64_t Index(int64_t slot_and_head, int split) const {
    return slot_and_head * max_splits + split;
  }
};

// Tokens have partials by number when all are decode, else by sequence: each has one.
template <typename Types>
__device__ int64_t
SlotAndHead(const PagedProblem<Types>& problem, const HeadRows& rows, int seq, int row) {
  const int64_t index = rows.Index(row, problem.num_heads);
  if (problem.share == Share::kAll) return index;
  return index + static_cast<int64_t>(seq - rows.first_token) * problem.num_heads;
}

template <typename Types>
__device__ void AttendSplit(
    const PagedProblem<Types>& problem, const Partials& partials, int seq, int kv_head, int split) {
  TileLoop<Types, 1> loop(DynamicShared<char>(), problem.head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), problem.head_dim, problem.logit_scale);
  const HeadRows rows = HeadRowsOf(problem, seq, kv_head);
  const int lane = threadIdx.x % kWarpSize, g = lane / 4, q = lane % 4;
  const int begin = split * kSplitTiles;
  const int end = min(begin + kSplitTiles, static_cast<int>(CeilDiv(rows.context_len, kTileKeys)));
  for (int first_row = 0; first_row < rows.count(); first_row += kWarpRows) {
    LoadQueries(problem, rows, first_row, queries);
    const int mine[2] = {first_row + g, first_row + g + 8};
    const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
    RowStates<Types> state;
    loop.Run(problem.Rows(seq, kv_head), begin, end, visible, queries, state, [](int) {});
    JoinLanes(state);
    for (int r = 0; r < 2; ++r) {
      if (mine[r] >= rows.count()) continue;
      const int64_t index = partials.Index(SlotAndHead(problem, rows, seq, mine[r]), split);
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
}

// The splits of all sequences and KV heads are one list; block b takes b, b + gridDim.x, ...
template <typename Types>
__global__ void __launch_bounds__(kWarpSize)
    DecodeKernel(PagedProblem<Types> problem, Partials partials) {
  const int lane = threadIdx.x;
  int item = blockIdx.x;  // counted from the first sequence of the 32 at hand
  for (int first_seq = 0; first_seq < problem.num_seqs; first_seq += kWarpSize) {
    int splits = 0;
    if (first_seq + lane < problem.num_seqs) {
      const HeadRows rows = HeadRowsOf(problem, first_seq + lane, 0);
      if (problem.IsMine(rows.query_len, Share::kDecode)) {
        splits = static_cast<int>(CeilDiv(rows.context_len, kSplitKeys));
      }
    }
    int end = splits * problem.num_kv_heads;  // of this lane's sequence in the list
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int before = __shfl_up_sync(kAllLanes, end, step);
      if (lane >= step) end += before;
    }
    const int total = __shfl_sync(kAllLanes, end, kWarpSize - 1);
    for (; item < total; item += gridDim.x) {
      const int owner = __ffs(static_cast<int>(__ballot_sync(kAllLanes, item < end))) - 1;
      const int owner_splits = __shfl_sync(kAllLanes, splits, owner);
      const int within =
          item - (__shfl_sync(kAllLanes, end, owner) - owner_splits * problem.num_kv_heads);
      // KV heads of one split side by side: they lie so in the cache.
      AttendSplit(problem, partials, first_seq + owner, within % problem.num_kv_heads,
                  within / problem.num_kv_heads);
    }
    item -= total;
  }
}

// Finds a token's sequence: the last one that begins at or before it and is not empty.
template <typename Types>
__device__ int SequenceOf(const PagedProblem<Types>& problem, int token) {
  int low = 0, high = problem.num_seqs;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (problem.cu_query_lens[middle] <= token ? low : high) = middle;
  }
  return low;
}

template <typename Types>
__global__ void __launch_bounds__(kJoinThreads)
    JoinKernel(PagedProblem<Types> problem, Partials partials) {
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * (kJoinThreads / kWarpSize) + threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize, head = row % problem.num_heads;
  int seq, token;
  if (problem.share == Share::kAll) {
    token = static_cast<int>(row / problem.num_heads);
    if (token >= problem.num_tokens) return;
    seq = SequenceOf(problem, token);
  } else {
    seq = static_cast<int>(row / problem.num_heads);
    if (seq >= problem.num_seqs) return;
    token = problem.cu_query_lens[seq];
  }
  const HeadRows rows = HeadRowsOf(problem, seq, 0);
  if (!problem.IsMine(rows.query_len, Share::kDecode)) return;
  const int visible = rows.Visible((token - rows.first_token) * rows.group);
  const int num_splits = static_cast<int>(CeilDiv(visible, kSplitKeys));
  float max = -INFINITY, sum = 0;
  float values[kMaxHeadDim / kWarpSize] = {};
  for (int split = 0; split < num_splits; ++split) {
    const int64_t index = partials.Index(row, split);
    const Join<Types> join(max, partials.max[index]);
    max = join.max;
    sum = join(sum, partials.sum[index]);
#pragma unroll
    for (int i = 0; i < kMaxHeadDim / kWarpSize; ++i) {
      const int d = i * kWarpSize + lane;
      if (d < problem.head_dim) {
        values[i] = join(values[i], partials.values[index * problem.head_dim + d]);
      }
    }
  }
  auto* out =
      problem.out + (static_cast<int64_t>(token) * problem.num_heads + head) * problem.head_dim;
  for (int i = 0; i < kMaxHeadDim / kWarpSize; ++i) {
    const int d = i * kWarpSize + lane;
    if (d < problem.head_dim) out[d] = FromFloat<typename Types::A>(values[i] / sum);
  }
}

template <typename Types>
Status LaunchDecode(Context& context, const PagedProblem<Types>& problem) {
  const int64_t num_rows = int64_t{problem.num_seqs} * problem.num_heads;
  const int64_t max_splits = CeilDiv(int64_t{problem.max_blocks} * problem.block_size, kSplitKeys);
  const int64_t num_partials = num_rows * max_splits;
  const int64_t floats = num_partials * (problem.head_dim + 2);
  LONGHAND_ASSIGN_OR_RETURN(
      void* memory,
      context.attention.Take(context.stream, static_cast<size_t>(floats) * sizeof(float)));
  auto* values = static_cast<float*>(memory);
  float* max = values + num_partials * problem.head_dim;
  const Partials partials{values, max, max + num_partials, static_cast<int>(max_splits)};

  const int64_t most_items = int64_t{problem.num_seqs} * problem.num_kv_heads * max_splits;
  const int64_t at_once = int64_t{context.stream.num_multiprocessors} * kBlocksPerMultiprocessor;
  const auto blocks = static_cast<unsigned>(most_items < at_once ? most_items : at_once);
  LONGHAND_RETURN_IF_ERROR(Launch(
      "PagedDecode", context.stream,
      {blocks, kWarpSize, static_cast<size_t>(TileLoop<Types, 1>::SharedBytes(problem.head_dim))},
      &DecodeKernel<Types>, problem, partials));
  const auto join_blocks = static_cast<unsigned>(CeilDiv(num_rows, kJoinThreads / kWarpSize));
  return Launch("PagedDecodeJoin", context.stream, {join_blocks, kJoinThreads}, &JoinKernel<Types>,
                problem, partials);
}

}  // namespace

int64_t AttentionWorkspaceBytes(const StepSizes& sizes) {
  const int64_t keys = CeilDiv(sizes.max_model_len, sizes.block_size) * sizes.block_size;
  return sizes.max_num_seqs * sizes.num_heads * CeilDiv(keys, kSplitKeys) * (sizes.head_dim + 2) *
         static_cast<int64_t>(sizeof(float));
}

Status PagedDecode(Context& context, const PagedAttentionArgs& args, Share share) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2),
      [&](auto types) { return LaunchDecode(context, MakeProblem<decltype(types)>(args, share)); });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
