// Attention over the paged KV cache for few new tokens: splits of the keys in parallel, then a
// join.
//
//   query          [num_tokens, num_heads, head_dim]                    f32 or bf16
//   kv_cache       [2, num_blocks, block_size, num_kv_heads, head_dim]  f32, bf16, int8, fp8; 0 =
//   keys kv_scales      [2, num_blocks, block_size, num_kv_heads]            f32, with 8 bits
//   block_table    [num_seqs, max_blocks]                               i32; read up to context_len
//   cu_query_lens  [num_seqs + 1]                                       i32
//   context_len    [num_seqs]                                           i32
//   prefix_groups  [num_seqs, 4]                                        i32, or absent (ops.h)
//   out            [num_tokens, num_heads, head_dim]                    as query; summed in f32
//
// A block takes one split of one KV head of one sequence, with all query heads of the group as rows
// of one matrix product (decode_split.h). Where sequences of a prefix group have the whole split in
// common, as many of them as fill the product's 16 rows go through it together: its keys and values
// are read once for them. Blocks go through the splits of all sequences in one list, so long and
// short contexts fill the machine alike. Each leaves its sums in the workspace; who comes last for
// a sequence and KV head joins its splits, in order.
//
// Launch     as many blocks as fit on the device: of 256 threads where each multiprocessor has a
//            split at most, of one warp where each place for such a block has two splits or more,
//            else of 128 threads. What there may be counts, by the block table's width: lengths are
//            not known to the host. With f32 a block is one warp.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       reads 2 * context_len * num_kv_heads * head_dim elements a sequence: memory. Writes
//            and reads head_dim + 2 floats for each row and split.
// Workspace  num_seqs * splits of the block table * num_heads * (head_dim + 2) floats, and a
//            counter for each sequence and KV head, zero between calls.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
// Source     splits: Flash-Decoding, 2023; shared prefixes: Hydragen, 2024, and FlashInfer's
//            cascades. Written here.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/decode_split.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Joins the splits of a sequence's rows of one KV head, in order. Each thread has four neighbouring
// elements of a row.
template <typename Types, int kWarps>
__device__ void JoinSplits(const PagedProblem<Types>& problem,
                           const Partials& partials,
                           const SplitRows& rows,
                           int num_splits) {
  const int groups = problem.head_dim / 4;
  for (int i = threadIdx.x; i < rows.count() * groups; i += kWarps * kWarpSize) {
    const int row = i / groups, d = i % groups * 4;
    const int64_t first = partials.Index(rows.SlotAndHead(problem, row), 0);
    const auto* values =
        reinterpret_cast<const float4*>(partials.values + first * problem.head_dim + d);
    float max = -INFINITY, sum = 0;
    float4 total{0, 0, 0, 0};
#pragma unroll 4
    for (int split = 0; split < num_splits; ++split) {
      const float4 part = __ldcg(values + int64_t{split} * groups);
      const Join<Types> join(max, __ldcg(partials.max + first + split), problem.logit_scale);
      max = join.max;
      sum = join(sum, __ldcg(partials.sum + first + split));
      total.x = join(total.x, part.x);
      total.y = join(total.y, part.y);
      total.z = join(total.z, part.z);
      total.w = join(total.w, part.w);
    }
    using A = typename Types::A;
    A* out = problem.out + rows.Index(problem, row) * problem.head_dim + d;
    out[0] = FromFloat<A>(total.x / sum);
    out[1] = FromFloat<A>(total.y / sum);
    out[2] = FromFloat<A>(total.z / sum);
    out[3] = FromFloat<A>(total.w / sum);
  }
}

template <typename Types>
__device__ __forceinline__ SplitRows RowsOf(const PagedProblem<Types>& problem,
                                            int seq,
                                            int kv_head) {
  return {HeadRowsOf(problem, seq, kv_head), seq, nullptr, 1};
}

// A sequence's splits, and how many of these its prefix group has in common.
struct SplitCounts {
  int all, shared;
};

// Of the sequence of the i-th prefix row; nothing where there is none, or it is prefill's.
template <typename Types>
__device__ __forceinline__ SplitCounts CountSplits(const PagedProblem<Types>& problem,
                                                   int i,
                                                   int seqs_per_tile) {
  if (i >= problem.num_seqs) return {0, 0};
  const PrefixRow row = problem.PrefixRowAt(i);
  const HeadRows rows = HeadRowsOf(problem, row.seq, 0);
  if (!problem.IsMine(rows.query_len, Share::kDecode)) return {0, 0};
  const bool reads_together = row.group_end - row.group_begin > 1 && seqs_per_tile > 1;
  return {static_cast<int>(NumSplits(rows.context_len)),
          reads_together ? WholeSplits(row.num_keys) : 0};
}

// Row tiles that go through the shared splits in the name of the i-th prefix row: all of its
// group's where it is the first of it.
template <typename Types>
__device__ __forceinline__ int NumTiles(const PagedProblem<Types>& problem,
                                        int i,
                                        SplitCounts counts,
                                        int seqs_per_tile) {
  if (counts.shared == 0) return 0;
  const PrefixRow row = problem.PrefixRowAt(i);
  if (row.group_begin != i) return 0;
  return static_cast<int>(CeilDiv(row.group_end - i, seqs_per_tile));
}

// An item: the rows of so many sequences from prefix row `place` on.
struct Work {
  SplitRows rows;
  int place;
};

// The splits of all sequences and KV heads are one list; block b takes b, b + gridDim.x, ... A
// sequence's share of it are its group's splits, where it is the first, and those of its own.
template <typename Types, int kWarps>
__global__ void __launch_bounds__(kWarps* kWarpSize, Types::kTensorCores&& kWarps == 4 ? 3 : 1)
    DecodeKernel(PagedProblem<Types> problem, Partials partials) {
  const int lane = threadIdx.x % kWarpSize;
  const int num_kv_heads = problem.num_kv_heads;
  const int seqs_per_tile = kWarpRows / (problem.num_heads / num_kv_heads);
  // In shared memory, so that registers are left to the splits. Of 32 sequences: where their shares
  // of the list end, and their splits.
  __shared__ int ends[kWarpSize];
  __shared__ SplitCounts all_counts[kWarpSize];
  __shared__ Work work;
  __shared__ uint32_t complete;  // of the item's sequences: all splits are there
  int item = blockIdx.x;         // counted from the first sequence of the 32 at hand
  for (int first = 0; first < problem.num_seqs; first += kWarpSize) {
    __syncthreads();  // all are done with the 32 before
    if (threadIdx.x < kWarpSize) {
      const SplitCounts mine = CountSplits(problem, first + lane, seqs_per_tile);
      const int tiles = NumTiles(problem, first + lane, mine, seqs_per_tile);
      int end = (mine.all + (tiles - 1) * mine.shared) * num_kv_heads;
      for (int step = 1; step < kWarpSize; step *= 2) {
        const int before = __shfl_up_sync(kAllLanes, end, step);
        if (lane >= step) end += before;
      }
      ends[lane] = end;
      all_counts[lane] = mine;
    }
    __syncthreads();
    for (; item < ends[kWarpSize - 1]; item += static_cast<int>(gridDim.x)) {
      const int owner = __ffs(static_cast<int>(__ballot_sync(kAllLanes, item < ends[lane]))) - 1;
      int place = first + owner, num_seqs = 1;
      // From the end: first the splits of its own.
      int left = ends[owner] - 1 - item;
      const SplitCounts counts = all_counts[owner];
      int split = counts.all - 1;
      const int own = (counts.all - counts.shared) * num_kv_heads;
      if (left >= own) {
        left -= own;
        split = counts.shared - 1;
        // Blocks beside each other read the same keys.
        const int of_owner = NumTiles(problem, place, counts, seqs_per_tile);
        place += left % of_owner * seqs_per_tile;
        left /= of_owner;
        num_seqs = min(seqs_per_tile, problem.PrefixRowAt(place).group_end - place);
      }
      // Or the heads of the same tokens, which lie beside each other.
      split -= left / num_kv_heads;
      if (threadIdx.x == 0) {
        work = {RowsOf(problem, problem.PrefixRowAt(place).seq, left % num_kv_heads), place};
        if (num_seqs > 1) {
          work.rows.prefix_rows = problem.prefix_rows + place;
          work.rows.num_seqs = num_seqs;
        }
      }
      __syncthreads();
      Attend<Types, kWarps>(problem, partials, work.rows, split);
      __syncthreads();
      const int done = work.place, kv_head = work.rows.first.kv_head;
      if (threadIdx.x < kWarpSize) {
        bool is_last = false;
        if (lane < work.rows.num_seqs) {
          __threadfence();  // for all of the block, as the barrier came before
          const int seq = problem.PrefixRowAt(done + lane).seq;
          uint32_t* arrived = partials.arrived + int64_t{seq} * num_kv_heads + kv_head;
          const auto splits = static_cast<uint32_t>(NumSplits(problem.context_lens[seq]));
          is_last = atomicAdd(arrived, 1u) == splits - 1;
          if (is_last) *arrived = 0;
          __threadfence();
        }
        const unsigned last = __ballot_sync(kAllLanes, is_last);
        if (lane == 0) complete = last;
      }
      __syncthreads();
      for (uint32_t rest = complete; rest != 0; rest &= rest - 1) {
        const int seq = problem.PrefixRowAt(done + __ffs(static_cast<int>(rest)) - 1).seq;
        JoinSplits<Types, kWarps>(problem, partials, RowsOf(problem, seq, kv_head),
                                  static_cast<int>(NumSplits(problem.context_lens[seq])));
      }
    }
    item -= ends[kWarpSize - 1];
  }
}

template <typename Types>
Status LaunchDecode(Context& context, const PagedProblem<Types>& problem) {
  const int64_t num_rows = int64_t{problem.num_seqs} * problem.num_heads;
  const int64_t max_splits = NumSplits(int64_t{problem.max_blocks} * problem.block_size);
  const int64_t num_partials = num_rows * max_splits;
  const int64_t floats = num_partials * (problem.head_dim + 2);
  LONGHAND_ASSIGN_OR_RETURN(
      void* memory,
      context.attention.Take(context.stream, static_cast<size_t>(floats) * sizeof(float)));
  LONGHAND_ASSIGN_OR_RETURN(
      void* arrived,
      context.attention_arrived.Take(context.stream, static_cast<size_t>(AttentionArrivedBytes(
                                                         problem.num_seqs, problem.num_kv_heads))));
  auto* values = static_cast<float*>(memory);
  float* max = values + num_partials * problem.head_dim;
  const Partials partials{values, max, max + num_partials, static_cast<int>(max_splits),
                          static_cast<uint32_t*>(arrived)};

  const int64_t num_multiprocessors = context.stream.num_multiprocessors;
  const int64_t most_items = int64_t{problem.num_seqs} * problem.num_kv_heads * max_splits;
  // How many blocks of so many warps run at one time.
  const auto places = [&](auto warps) {
    // Of a Hopper multiprocessor's memory; each block has 1 KB beside its own.
    constexpr int64_t kSharedPerMultiprocessor = 228 << 10, kMostBlocks = 8;
    const int64_t shared = AttendBytes<Types, decltype(warps)::value>(problem.head_dim);
    return std::min(kSharedPerMultiprocessor / (shared + 1024), kMostBlocks) * num_multiprocessors;
  };
  const auto launch = [&](auto warps) {
    constexpr int kWarps = decltype(warps)::value;
    const auto blocks = static_cast<unsigned>(std::min(most_items, places(warps)));
    const auto shared = static_cast<size_t>(AttendBytes<Types, kWarps>(problem.head_dim));
    return Launch("PagedDecode", context.stream, {blocks, kWarps * kWarpSize, shared},
                  &DecodeKernel<Types, kWarps>, problem, partials);
  };
  constexpr std::integral_constant<int, 1> kAlone;
  if constexpr (Types::kTensorCores) {
    constexpr std::integral_constant<int, 4> kFour;
    constexpr std::integral_constant<int, 8> kEight;
    if (most_items <= num_multiprocessors &&
        AttendBytes<Types, 8>(problem.head_dim) <= context.stream.shared_bytes) {
      return launch(kEight);
    }
    if (most_items < 2 * places(kAlone)) return launch(kFour);
  }
  return launch(kAlone);
}

}  // namespace

int64_t AttentionWorkspaceBytes(const StepSizes& sizes) {
  const int64_t keys = CeilDiv(sizes.max_model_len, sizes.block_size) * sizes.block_size;
  return sizes.max_num_seqs * sizes.num_heads * NumSplits(keys) * (sizes.head_dim + 2) *
         static_cast<int64_t>(sizeof(float));
}

int64_t AttentionArrivedBytes(int64_t num_seqs, int64_t num_kv_heads) {
  return num_seqs * num_kv_heads * static_cast<int64_t>(sizeof(uint32_t));
}

Status PagedDecode(Context& context, const PagedAttentionArgs& args, Share share) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2),
      [&](auto types) { return LaunchDecode(context, MakeProblem<decltype(types)>(args, share)); });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
