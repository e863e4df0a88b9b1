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
// A block takes one split of one KV head of one sequence after the other, with all query heads of
// the group as rows of one matrix product (decode_split.h). Where sequences of a prefix group have
// the whole split in common, as many of them as fill the product's 16 rows go through it together:
// its keys and values are read once for them. Splits of all sequences are one list
// (decode_list.h), so long and short contexts fill the machine alike, and keys and values come
// through a ring (decode_ring.h) that goes on over the ends of splits. Each leaves its sums in the
// workspace; who comes last for a sequence and KV head joins its splits, in order (decode_join.h).
// Of a device's two such kernels this is the one for all types (decode_kernels.h).
//
// Launch     as many blocks of 128 threads as fit on the device; of 256 where each multiprocessor
//            has a split at most (decode_short.h). With f32 a block is one warp.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       reads 2 * context_len * num_kv_heads * head_dim elements a sequence: memory. Writes
//            and reads head_dim + 2 floats for each row and split.
// Workspace  num_seqs * splits of the block table * num_heads * (head_dim + 2) floats, and a
//            counter for each sequence and KV head and two more, zero between calls.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
// Source     splits: Flash-Decoding, 2023; shared prefixes: Hydragen, 2024, and FlashInfer's
//            cascades. Written here.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/decode_ahead.h"
#include "kernels/cuda/decode_join.h"
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/decode_short.h"
#include "kernels/cuda/decode_split.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// This block's items of the list from `first_item` on; returns the first behind the list.
template <typename Types>
__device__ __forceinline__ int AttendItems(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           DecodeMemory<Types>& memory,
                                           ItemQueue& queue,
                                           int first_item) {
  if (first_item >= memory.list.end()) return first_item;
  TilesAhead<Types> ahead(problem, memory, queue, first_item);
  SplitSums<Types> sums(memory, problem.logit_scale);
  DecodeCursor here;
  // Before the first tile is used, one is found and kRingTiles - 1 are being copied: the loop's
  // code is there once, as a small kernel's time is that of reading its code.
  int tile = 0;
#pragma unroll 1
  for (int before = kRingTiles;;) {
    if (before == 0) {
      WaitForCopies<2 * kRingTiles - 3>();
      ahead.WidenKeys(tile);
    }
    __syncthreads();  // the keys are there, and all are done with the tile before
    if (before < kRingTiles) ahead.Start();
    ahead.Find();
    if (before > 0) __syncthreads();  // all have found
    if (before > 1) {
      ahead.Keep();
      --before;
      continue;
    }
    if (before == 1) {
      here.Enter(memory.items.items[0]);
      before = 0;
    } else {
      sums.Score(here.key, tile);
      __syncthreads();  // all have scored
      sums.Weigh();
      WaitForCopies<2 * kRingTiles - 2>();
      ahead.WidenValues(tile);
      __syncthreads();  // the values and all weights are there
      sums.Add(tile);
      tile = tile + 1 == kRingTiles ? 0 : tile + 1;
      if (!here.EndsRows()) {
        here.Step();
        ahead.Keep();
        continue;
      }
      const DecodeItem& item = memory.items.items[here.place];
      sums.Store(problem, partials, item, here.first_row);
      if (here.EndsItem()) {
        FinishItem<Types, kDecodeThreads>(problem, partials, item.rows, item.place,
                                          memory.complete);
        here.place = DecodeItems::After(here.place);
        const DecodeItem& next = memory.items.items[here.place];
        if (next.split == DecodeItems::kNone) return ahead.item();
        here.Enter(next);
      } else {
        here.Step();
      }
    }
    sums.LoadRows(problem, memory.items.items[here.place].rows, here.first_row);
    sums.Clear();
    ahead.Keep();
  }
}

template <typename Types>
__global__ void __launch_bounds__(kDecodeThreads, 3)
    DecodeKernel(PagedProblem<Types> problem, Partials partials) {
  auto& memory = *DynamicShared<DecodeMemory<Types>>();
  LetNextBegin();
  WaitForPrevious();
  ItemQueue queue(partials.queue);
  int item = blockIdx.x, begin = 0;
  for (int first = 0; first < problem.num_seqs; first += kDecodeThreads) {
    __syncthreads();
    memory.list.Fill(problem, first, begin);
    begin = memory.list.end();
    item = AttendItems(problem, partials, memory, queue, item);
  }
  if (threadIdx.x == 0) queue.Leave();
}

// As many blocks as there may be items.
template <typename Types>
__global__ void __launch_bounds__(kShortThreads, 1)
    ShortDecodeKernel(PagedProblem<Types> problem, Partials partials) {
  auto& memory = *DynamicShared<ShortMemory<Types>>();
  LetNextBegin();
  WaitForPrevious();
  const int item = static_cast<int>(blockIdx.x);
  int begin = 0;
  for (int first = 0; first < problem.num_seqs; first += kShortThreads) {
    __syncthreads();
    memory.list.Fill(problem, first, begin);
    const int end = memory.list.end();
    if (item >= begin && item < end) {
      int entry = 0;
      const DecodeItem at = memory.list.ItemAt(problem, item, entry);
      AttendShortSplit(problem, partials, memory, at.rows, at.split);
      return FinishItem<Types, kShortThreads>(problem, partials, at.rows, at.place,
                                              memory.complete);
    }
    begin = end;
  }
}

template <typename Types>
__global__ void __launch_bounds__(kWarpSize)
    DecodeF32Kernel(PagedProblem<Types> problem, Partials partials) {
  __shared__ DecodeList<kWarpSize> list;
  __shared__ uint32_t complete;
  LetNextBegin();
  WaitForPrevious();
  int item = blockIdx.x, begin = 0;
  for (int first = 0; first < problem.num_seqs; first += kWarpSize) {
    __syncthreads();
    list.Fill(problem, first, begin);
    begin = list.end();
    for (int entry = 0; item < begin; item += static_cast<int>(gridDim.x)) {
      const DecodeItem at = list.ItemAt(problem, item, entry);
      AttendSplitF32(problem, partials, at.rows, at.split);
      FinishItem<Types, kWarpSize>(problem, partials, at.rows, at.place, complete);
    }
  }
}

// Whether each multiprocessor has a split at most.
template <typename Types>
bool IsShort(const Context& context, const PagedProblem<Types>& problem) {
  return problem.MostItems() <= context.stream.num_multiprocessors;
}

template <typename Types>
Status LaunchDecode(Context& context, const PagedProblem<Types>& problem) {
  LONGHAND_ASSIGN_OR_RETURN(const Partials partials, TakePartials(context, problem));
  const int64_t num_multiprocessors = context.stream.num_multiprocessors;
  const int64_t most_items = problem.MostItems();
  const auto launch = [&](auto* kernel, int64_t per_multiprocessor, unsigned threads,
                          int64_t shared) {
    const auto blocks =
        static_cast<unsigned>(std::min(most_items, per_multiprocessor * num_multiprocessors));
    return Launch("PagedDecode", context.stream,
                  {blocks, threads, static_cast<size_t>(shared), /*begins_early=*/true}, kernel,
                  problem, partials);
  };
  if constexpr (Types::kTensorCores) {
    if (IsShort(context, problem) &&
        static_cast<int>(sizeof(ShortMemory<Types>)) <= context.stream.shared_bytes) {
      return launch(&ShortDecodeKernel<Types>, 1, kShortThreads, sizeof(ShortMemory<Types>));
    }
    // Of a Hopper multiprocessor's memory; each block has 1 KB beside its own.
    constexpr int64_t kSharedPerMultiprocessor = 228 << 10, kMostBlocks = 3;
    constexpr int64_t kShared = sizeof(DecodeMemory<Types>);
    return launch(&DecodeKernel<Types>,
                  std::min(kSharedPerMultiprocessor / (kShared + 1024), kMostBlocks),
                  kDecodeThreads, kShared);
  } else {
    constexpr int64_t kBlocks = 8;
    return launch(&DecodeF32Kernel<Types>, kBlocks, kWarpSize,
                  TileLoop<Types, 1>::SharedBytes(problem.head_dim));
  }
}

}  // namespace

int64_t AttentionWorkspaceBytes(const StepSizes& sizes) {
  const int64_t keys = CeilDiv(sizes.max_model_len, sizes.block_size) * sizes.block_size;
  return sizes.max_num_seqs * sizes.num_heads * NumSplits(keys) * (sizes.head_dim + 2) *
         static_cast<int64_t>(sizeof(float));
}

int64_t AttentionArrivedBytes(int64_t num_seqs, int64_t num_kv_heads) {
  return (kQueueCounters + num_seqs * num_kv_heads) * static_cast<int64_t>(sizeof(uint32_t));
}

Status PagedDecodeByWarps(Context& context, const PagedAttentionArgs& args, Share share) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2),
      [&](auto types) { return LaunchDecode(context, MakeProblem<decltype(types)>(args, share)); });
}

Status PagedDecode(Context& context, const PagedAttentionArgs& args, Share share) {
  if (MayDecodeByGroups(args)) {
    LONGHAND_RETURN_IF_ERROR(PrepareAttention(context));
    if (context.attention_state.decode_has_groups &&
        !IsShort(context, MakeProblem<DecodeGroupTypes>(args, share))) {
      return PagedDecodeByGroups(context, args, share);
    }
  }
  return PagedDecodeByWarps(context, args, share);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
