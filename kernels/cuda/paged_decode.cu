// Attention over the paged KV cache for few new tokens: splits of the keys in parallel, then a
// join.
//
//   query          [num_tokens, num_heads, head_dim]                    f32 or bf16
//   kv_cache       [2, num_blocks, block_size, num_kv_heads, head_dim]  f32, bf16, int8, fp8; 0 =
//   keys kv_scales      [2, num_blocks, block_size, num_kv_heads]            f32, with 8 bits
//   block_table    [num_seqs, max_blocks]                               i32; read up to context_len
//   cu_query_lens  [num_seqs + 1]                                       i32
//   context_len    [num_seqs]                                           i32
//   out            [num_tokens, num_heads, head_dim]                    as query; summed in f32
//
// A block takes one split of one KV head of one sequence, with all query heads of the group as rows
// of one matrix product. It goes through the split in stages of 128 keys: each of its four warps
// multiplies 32 keys, they meet to weigh them as paged_prefill.cu would, one tile of 64 after the
// other, and then each warp has a quarter of the elements of the values. Blocks go through the
// splits of all sequences in one list, so long and short contexts fill the machine alike. Each
// leaves its sums in the workspace; who comes last for a sequence and KV head joins its splits, in
// order.
//
// Launch     as many blocks of 128 threads as fit on the device, three a multiprocessor. With f32 a
//            block is one warp.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       reads 2 * context_len * num_kv_heads * head_dim elements a sequence: memory. Writes
//            and reads head_dim + 2 floats for each row and split.
// Workspace  num_seqs * splits of the block table * num_heads * (head_dim + 2) floats, and a
// counter
//            for each sequence and KV head, zero between calls.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
// Source     splits: Flash-Decoding, 2023. Written here.
#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kStageKeys = 2 * kTileKeys;
constexpr int kWarps = 4;
constexpr int kWarpKeys = kStageKeys / kWarps;  // of a stage: half of a tile

template <typename Types>
constexpr int kThreads = Types::kTensorCores ? kWarps * kWarpSize : kWarpSize;

// Sums of one row and split, of head_dim values: [slot][num_heads][max_splits].
struct Partials {
  float* values;  // [...][head_dim]
  float* max;
  float* sum;
  int max_splits;
  uint32_t* arrived;  // [num_seqs, num_kv_heads] splits that are done

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

// One split, by one warp.
template <typename Types>
__device__ void AttendSplitF32(
    const PagedProblem<Types>& problem, const Partials& partials, int seq, int kv_head, int split) {
  TileLoop<Types, 1> loop(DynamicShared<char>(), problem.head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), problem.head_dim, problem.logit_scale);
  const HeadRows rows = HeadRowsOf(problem, seq, kv_head);
  const int lane = threadIdx.x % kWarpSize, g = lane / 4, q = lane % 4;
  const int begin = SplitBegin(split) / kTileKeys;
  const int end = min(SplitBegin(split + 1) / kTileKeys,
                      static_cast<int>(CeilDiv(rows.context_len, kTileKeys)));
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

// Shared memory of a block with tensor cores.
template <typename Types>
struct StageMemory {
  static constexpr int kRowBytes = kStageKeys * Types::Pitch(Types::kHeadDim);
  static constexpr int kWeightPitch = kStageKeys * 2 + kPadBytes;
  using Copies = RowCopies<Types, kStageKeys, kThreads<Types>>;
  // With 8 bits keys and values take turns in one tile, to which they are widened.
  alignas(16) char tile[kRowBytes];
  alignas(16) char other[Copies::kWidens ? 2 * Copies::kRawBytes : kRowBytes];
  alignas(16) char weights[kWarpRows * kWeightPitch];  // bf16
  float max[kWarps][kWarpRows];                        // of each warp's keys
  alignas(16) char slots[Copies::kSharedBytes];

  __device__ char* keys() { return tile; }
  __device__ char* values() { return Copies::kWidens ? tile : other; }
  __device__ char* raw_keys() { return other; }
  __device__ char* raw_values() { return other + Copies::kRawBytes; }
};

// One split, by four warps: to every element the same operations in the same order as TileLoop's.
template <typename Types>
__device__ __forceinline__ void AttendSplit(
    const PagedProblem<Types>& problem, const Partials& partials, int seq, int kv_head, int split) {
  // Pairs of value tiles: warp w has pairs w, w + 4, ...
  constexpr int kAllPairs = Types::kValueTiles / 2;
  constexpr int kPairs = (kAllPairs + kWarps - 1) / kWarps;
  constexpr int kPitch = Types::Pitch(Types::kHeadDim);
  using Memory = StageMemory<Types>;
  Memory& memory = *DynamicShared<Memory>();
  WarpQueries<Types> queries(nullptr, Types::kHeadDim, problem.logit_scale);
  typename Memory::Copies copies(memory.slots);
  const HeadRows rows = HeadRowsOf(problem, seq, kv_head);
  const KeyRows<typename Types::Kv> keys = problem.Rows(seq, kv_head);
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int g = lane / 4, q = lane % 4;
  const int begin = SplitBegin(split), end = min(SplitBegin(split + 1), rows.context_len);
  const float scale = problem.logit_scale;
  for (int first_row = 0; first_row < rows.count(); first_row += kWarpRows) {
    __syncthreads();  // all are done with the rows or the split before
    copies.Find(keys, begin);
    copies.Keep(keys, begin, 0);
    __syncthreads();
    const auto bring_keys = [&](int key, int parity) {
      copies.Copy(keys, keys.keys, key, parity, Types::kHeadDim, memory.keys(), memory.raw_keys());
    };
    const auto bring_values = [&](int key, int parity) {
      copies.Copy(keys, keys.values, key, parity, Types::kHeadDim, memory.values(),
                  memory.raw_values());
    };
    bring_keys(begin, 0);
    bring_values(begin, 0);
    LoadQueries(problem, rows, first_row, queries);
    const int mine[2] = {first_row + g, first_row + g + 8};
    const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    float values[2 * kPairs][4] = {};
    int parity = 0;
    for (int stage = begin; stage < end; stage += kStageKeys) {
      const int next = stage + kStageKeys;
      const bool more = next < end;
      parity ^= 1;  // the next stage's
      copies.Find(keys, next);
      WaitForCopies<1>();
      copies.Widen(keys, memory.raw_keys(), memory.keys());
      __syncthreads();  // the keys are there
      float scores[kWarpKeys / 8][4];
      const int first_key = stage + warp * kWarpKeys;
      queries.Score(memory.keys() + warp * kWarpKeys * kPitch, kWarpKeys, scores);
      const int left[2] = {visible[0] - first_key, visible[1] - first_key};
      Mask(left, scores);
      float warp_max[2] = {-INFINITY, -INFINITY};
      LargestOf(scores, warp_max);
      if (q == 0) {
        memory.max[warp][g] = warp_max[0];
        memory.max[warp][g + 8] = warp_max[1];
      }
      copies.Keep(keys, next, parity);
      __syncthreads();  // all have scored: the next keys may come
      if (more) bring_keys(next, parity);
      if (!more) CommitCopies();
      float decay[2][2];  // [tile of the stage][row]
      for (int r = 0; r < 2; ++r) {
        const int row = g + 8 * r;
        float base = 0;
        for (int tile = 0; tile < 2; ++tile) {
          const float tile_max =
              fmaxf(max[r], fmaxf(memory.max[2 * tile][row], memory.max[2 * tile + 1][row]));
          decay[tile][r] = Decay<Types>(max[r], tile_max, scale);
          max[r] = tile_max;
          if (tile == warp / 2) base = BaseOf(tile_max, scale);
        }
        char* weights = memory.weights + row * Memory::kWeightPitch + warp * kWarpKeys * 2 + q * 4;
#pragma unroll
        for (int n = 0; n < kWarpKeys / 8; ++n) {
          *reinterpret_cast<uint32_t*>(weights + n * 16) =
              PackBf16(Weight<Types>(scores[n][2 * r], base, scale),
                       Weight<Types>(scores[n][2 * r + 1], base, scale));
        }
      }
      WaitForCopies<1>();
      copies.Widen(keys, memory.raw_values(), memory.values());
      __syncthreads();  // the values and all weights are there
#pragma unroll
      for (int tile = 0; tile < 2; ++tile) {
        if (stage + tile * kTileKeys >= end) break;
        for (int r = 0; r < 2; ++r) {
          sum[r] = __fmul_rn(sum[r], decay[tile][r]);
#pragma unroll
          for (int n = 0; n < 2 * kPairs; ++n) {
            for (int i = 2 * r; i < 2 * r + 2; ++i) {
              values[n][i] = __fmul_rn(values[n][i], decay[tile][r]);
            }
          }
        }
#pragma unroll
        for (int step = 0; step < kTileKeys / 16; ++step) {
          const int key = tile * kTileKeys + step * 16;
          uint32_t weights[4];
          LoadMatrixX4<false>(weights, memory.weights + lane % 16 * Memory::kWeightPitch + key * 2 +
                                           lane / 16 * 16);
          const char* row =
              memory.values() + (key + lane % 16) * kPitch + lane / 16 * 16 + warp * 32;
#pragma unroll
          for (int pair = 0; pair < kPairs; ++pair) {
            if (warp + pair * kWarps >= kAllPairs) break;
            AddProducts(weights, row + pair * kWarps * 32, values[2 * pair], values[2 * pair + 1]);
          }
          if (warp == 0) AddWeights(weights, sum);
        }
      }
      __syncthreads();  // all have added: the next values may come
      if (more) bring_values(next, parity);
      if (!more) CommitCopies();
    }
    for (int r = 0; r < 2; ++r) {
      if (mine[r] >= rows.count()) continue;
      const int64_t index = partials.Index(SlotAndHead(problem, rows, seq, mine[r]), split);
      if (warp == 0 && q == 0) {
        partials.max[index] = max[r];
        partials.sum[index] = sum[r];
      }
      float* out = partials.values + index * Types::kHeadDim + warp * 16 + q * 2;
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        if (warp + pair * kWarps >= kAllPairs) break;
        for (int n = 0; n < 2; ++n) {
          *reinterpret_cast<float2*>(out + pair * kWarps * 16 + n * 8) =
              make_float2(values[2 * pair + n][2 * r], values[2 * pair + n][2 * r + 1]);
        }
      }
    }
  }
}

// Joins the splits of a sequence's rows of one KV head, in order. Each thread has four neighbouring
// elements of a row.
template <typename Types>
__device__ void JoinSplits(const PagedProblem<Types>& problem,
                           const Partials& partials,
                           int seq,
                           int kv_head,
                           int num_splits) {
  const HeadRows rows = HeadRowsOf(problem, seq, kv_head);
  const int groups = problem.head_dim / 4;
  for (int i = threadIdx.x; i < rows.count() * groups; i += kThreads<Types>) {
    const int row = i / groups, d = i % groups * 4;
    const int64_t first = partials.Index(SlotAndHead(problem, rows, seq, row), 0);
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
    A* out = problem.out + rows.Index(row, problem.num_heads) * problem.head_dim + d;
    out[0] = FromFloat<A>(total.x / sum);
    out[1] = FromFloat<A>(total.y / sum);
    out[2] = FromFloat<A>(total.z / sum);
    out[3] = FromFloat<A>(total.w / sum);
  }
}

// The splits of all sequences and KV heads are one list; block b takes b, b + gridDim.x, ...
template <typename Types>
__global__ void __launch_bounds__(kThreads<Types>, Types::kTensorCores ? 3 : 1)
    DecodeKernel(PagedProblem<Types> problem, Partials partials) {
  const int lane = threadIdx.x % kWarpSize;
  __shared__ bool last;
  int item = blockIdx.x;  // counted from the first sequence of the 32 at hand
  for (int first_seq = 0; first_seq < problem.num_seqs; first_seq += kWarpSize) {
    int splits = 0;
    if (first_seq + lane < problem.num_seqs) {
      const HeadRows rows = HeadRowsOf(problem, first_seq + lane, 0);
      if (problem.IsMine(rows.query_len, Share::kDecode)) {
        splits = static_cast<int>(NumSplits(rows.context_len));
      }
    }
    int end = splits * problem.num_kv_heads;  // of this lane's sequence in the list
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int before = __shfl_up_sync(kAllLanes, end, step);
      if (lane >= step) end += before;
    }
    const int total = __shfl_sync(kAllLanes, end, kWarpSize - 1);
    for (; item < total; item += static_cast<int>(gridDim.x)) {
      const int owner = __ffs(static_cast<int>(__ballot_sync(kAllLanes, item < end))) - 1;
      const int num_splits = __shfl_sync(kAllLanes, splits, owner);
      const int inside =
          item - (__shfl_sync(kAllLanes, end, owner) - num_splits * problem.num_kv_heads);
      // Blocks beside each other read the heads of the same tokens, which lie beside each other.
      const int seq = first_seq + owner, kv_head = inside % problem.num_kv_heads;
      const int split = inside / problem.num_kv_heads;
      if constexpr (Types::kTensorCores) {
        AttendSplit(problem, partials, seq, kv_head, split);
      } else {
        AttendSplitF32(problem, partials, seq, kv_head, split);
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        __threadfence();  // for all of the block, as the barrier came before
        uint32_t* arrived = partials.arrived + int64_t{seq} * problem.num_kv_heads + kv_head;
        last = atomicAdd(arrived, 1u) == static_cast<uint32_t>(num_splits) - 1;
        if (last) *arrived = 0;
        __threadfence();
      }
      __syncthreads();
      if (last) JoinSplits(problem, partials, seq, kv_head, num_splits);
    }
    item -= total;
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

  int shared = 0;
  if constexpr (Types::kTensorCores) {
    shared = static_cast<int>(sizeof(StageMemory<Types>));
  } else {
    shared = TileLoop<Types, 1>::SharedBytes(problem.head_dim);
  }
  // Of a Hopper multiprocessor's memory; each block has 1 KB beside its own.
  constexpr int kSharedPerMultiprocessor = 228 << 10, kMostBlocks = 8;
  const int64_t fit = kSharedPerMultiprocessor / (shared + 1024);
  const int64_t at_once =
      int64_t{context.stream.num_multiprocessors} * (fit < kMostBlocks ? fit : kMostBlocks);
  const int64_t most_items = int64_t{problem.num_seqs} * problem.num_kv_heads * max_splits;
  const auto blocks = static_cast<unsigned>(most_items < at_once ? most_items : at_once);
  return Launch("PagedDecode", context.stream,
                {blocks, kThreads<Types>, static_cast<size_t>(shared)}, &DecodeKernel<Types>,
                problem, partials);
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
