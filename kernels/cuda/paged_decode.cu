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
//
// Launch     as many blocks of 128 threads as fit on the device; where each multiprocessor has a
//            split at most, with a ring that holds a short split. With f32 a block is one warp.
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

#include "kernels/cuda/decode_join.h"
#include "kernels/cuda/decode_split.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Starts the copies of a block's tiles, ahead of their use.
template <typename Types, int kTiles>
class TilesAhead {
 public:
  using Memory = DecodeMemory<Types, kTiles>;

  // From item `idx` of num_items on, which exists.
  __device__ TilesAhead(const PagedProblem<Types>& problem, Memory& memory, int idx, int num_items)
      : problem_(problem), memory_(memory), num_items_(num_items) {
    at_.idx = idx;
    Enter();
  }

  // The next tile's keys are one group of copies, its values the next; empty ones after the last.
  __device__ __forceinline__ void Start() {
    if (at_.idx < num_items_) {
      copies_.Start(Rows(), at_.key, memory_.ring[next_][0], memory_.ring[next_][1]);
      if (at_.EndsItem()) {
        at_.idx += static_cast<int>(gridDim.x);
        at_.place = DecodeItems<kTiles>::After(at_.place);
        if (at_.idx < num_items_) Enter();
      } else {
        at_.Step();
        copies_.Find(Rows(), at_.key);
      }
    } else {
      CommitCopies();
      CommitCopies();
    }
    next_ = next_ + 1 == kTiles ? 0 : next_ + 1;
  }

  __device__ __forceinline__ void WidenKeys(int tile) const {
    copies_.Widen(problem_.fp8, memory_.ring[tile][0], memory_.keys(tile));
  }
  __device__ __forceinline__ void WidenValues(int tile) const {
    copies_.Widen(problem_.fp8, memory_.ring[tile][1], memory_.values(tile));
  }

 private:
  __device__ __forceinline__ void Enter() {
    const DecodeItem item = memory_.list.ItemAt(problem_, at_.idx, entry_);
    at_.Enter(item);
    seq_ = item.rows.first_seq;
    kv_head_ = item.rows.first.kv_head;
    num_keys_ = item.rows.first.context_len;
    if (threadIdx.x == 0) memory_.items.items[at_.place] = item;
    copies_.Find(Rows(), at_.key);
  }
  __device__ KeyRows<typename Types::Kv> Rows() const {
    return problem_.Rows(seq_, kv_head_, num_keys_);
  }

  const PagedProblem<Types>& problem_;
  Memory& memory_;
  TileCopies<Types> copies_;
  DecodeCursor at_;
  int num_items_, entry_ = 0, next_ = 0;
  int seq_, kv_head_, num_keys_;
};

// Items first_item, first_item + gridDim.x, ... of the list; the first behind its end.
template <typename Types, int kTiles>
__device__ __forceinline__ int AttendItems(const PagedProblem<Types>& problem,
                                           const Partials& partials,
                                           DecodeMemory<Types, kTiles>& memory,
                                           int first_item,
                                           int num_items) {
  if (first_item >= num_items) return first_item;
  TilesAhead<Types, kTiles> ahead(problem, memory, first_item, num_items);
  SplitSums<Types, kTiles> sums(memory, problem.logit_scale);
#pragma unroll 1
  for (int i = 0; i < kTiles - 1; ++i) ahead.Start();
  __syncthreads();  // the first item is there
  DecodeCursor here;
  here.idx = first_item;
  here.Enter(memory.items.items[0]);
  sums.LoadRows(problem, memory.items.items[0].rows, 0);
  sums.Clear();
  for (int tile = 0;; tile = tile + 1 == kTiles ? 0 : tile + 1) {
    const DecodeItem& item = memory.items.items[here.place];
    WaitForCopies<2 * kTiles - 3>();
    ahead.WidenKeys(tile);
    __syncthreads();  // the keys are there, and all are done with the tile before
    ahead.Start();
    sums.Score(item.rows, here, tile);
    __syncthreads();  // all have scored
    const bool ends_rows = here.EndsRows(), ends_item = here.EndsItem();
    const int first_row = here.first_row;
    if (ends_item) {
      here.idx += static_cast<int>(gridDim.x);
      here.place = DecodeItems<kTiles>::After(here.place);
      if (here.idx < num_items) here.Enter(memory.items.items[here.place]);
    } else {
      here.Step();
    }
    if (ends_rows && here.idx < num_items) {
      sums.LoadRows(problem, memory.items.items[here.place].rows, here.first_row);
    }
    sums.Weigh();
    WaitForCopies<2 * kTiles - 2>();
    ahead.WidenValues(tile);
    __syncthreads();  // the values and all weights are there
    sums.Add(tile);
    if (ends_rows) {
      sums.Store(problem, partials, item, first_row);
      sums.Clear();
    }
    if (ends_item) {
      FinishItem<Types, kDecodeThreads>(problem, partials, item.rows, item.place, memory.complete);
      if (here.idx >= num_items) return here.idx;
    }
  }
}

template <typename Types, int kTiles>
__global__ void __launch_bounds__(kDecodeThreads, kTiles == 2 ? 3 : 1)
    DecodeKernel(PagedProblem<Types> problem, Partials partials) {
  auto& memory = *DynamicShared<DecodeMemory<Types, kTiles>>();
  LetNextBegin();
  WaitForPrevious();
  int item = blockIdx.x;
  for (int first = 0; first < problem.num_seqs; first += kDecodeThreads) {
    __syncthreads();
    const int num_items = memory.list.Fill(problem, first);
    item = AttendItems(problem, partials, memory, item, num_items) - num_items;
  }
}

template <typename Types>
__global__ void __launch_bounds__(kWarpSize)
    DecodeF32Kernel(PagedProblem<Types> problem, Partials partials) {
  __shared__ DecodeList<kWarpSize> list;
  __shared__ uint32_t complete;
  LetNextBegin();
  WaitForPrevious();
  int item = blockIdx.x;
  for (int first = 0; first < problem.num_seqs; first += kWarpSize) {
    __syncthreads();
    const int num_items = list.Fill(problem, first);
    for (int entry = 0; item < num_items; item += static_cast<int>(gridDim.x)) {
      const DecodeItem at = list.ItemAt(problem, item, entry);
      AttendSplitF32(problem, partials, at.rows, at.split);
      FinishItem<Types, kWarpSize>(problem, partials, at.rows, at.place, complete);
    }
    item -= num_items;
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
  const auto launch = [&](auto* kernel, int64_t per_multiprocessor, unsigned threads,
                          int64_t shared) {
    const auto blocks =
        static_cast<unsigned>(std::min(most_items, per_multiprocessor * num_multiprocessors));
    return Launch("PagedDecode", context.stream,
                  {blocks, threads, static_cast<size_t>(shared), /*begins_early=*/true}, kernel,
                  problem, partials);
  };
  if constexpr (Types::kTensorCores) {
    const auto launch_ring = [&](auto tiles) {
      constexpr int kTiles = decltype(tiles)::value;
      // Of a Hopper multiprocessor's memory; each block has 1 KB beside its own.
      constexpr int64_t kSharedPerMultiprocessor = 228 << 10, kMostBlocks = 3;
      constexpr int64_t kShared = sizeof(DecodeMemory<Types, kTiles>);
      return launch(&DecodeKernel<Types, kTiles>,
                    std::min(kSharedPerMultiprocessor / (kShared + 1024), kMostBlocks),
                    kDecodeThreads, kShared);
    };
    constexpr int kShort = kShortSplitKeys / kTileKeys;
    if (most_items <= num_multiprocessors &&
        static_cast<int>(sizeof(DecodeMemory<Types, kShort>)) <= context.stream.shared_bytes) {
      return launch_ring(std::integral_constant<int, kShort>());
    }
    return launch_ring(std::integral_constant<int, 2>());
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
  return num_seqs * num_kv_heads * static_cast<int64_t>(sizeof(uint32_t));
}

Status PagedDecode(Context& context, const PagedAttentionArgs& args, Share share) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2),
      [&](auto types) { return LaunchDecode(context, MakeProblem<decltype(types)>(args, share)); });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
