// Attention over the paged KV cache for chunks of new tokens: causal, grouped query heads.
//
// Tensors as in paged_decode.cu. A block takes 128 rows of one sequence and KV head, a row being a
// query head of a token, so that the group shares what it reads. It goes through the keys in order
// and joins the splits as decode does, in registers: a token has the same bits either way.
//
// Launch     grid (num_kv_heads, row tiles), 256 threads; eight warps of 16 rows share the tiles
//            (with f32 four). Row tiles are given to sequences by cu_query_lens, at most one more
//            than needed for each; the last ones, which see the most keys, come first.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       4 * head_dim operations for each pair of row and visible key: tensor cores.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
#include "kernels/cuda/prefill_tiles.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

template <typename Types>
constexpr int kWarps = Types::kTensorCores ? 8 : 4;
template <typename Types>
constexpr int kRows = kWarps<Types> * kWarpRows;

template <typename Types>
__global__ void __launch_bounds__(kWarps<Types>* kWarpSize, 1)
    PrefillKernel(PagedProblem<Types> problem) {
  const int group = problem.num_heads / problem.num_kv_heads;
  const int tile = static_cast<int>(gridDim.y - 1 - blockIdx.y), kv_head = blockIdx.x;
  const int seq = SeqOfTile<kRows<Types>>(problem, tile, group);
  const HeadRows rows = HeadRowsOf(problem, seq, kv_head);
  const int first_row = (tile - FirstTile<kRows<Types>>(problem, seq, group)) * kRows<Types>;
  if (first_row >= rows.count() || !problem.IsMine(rows.query_len, Share::kPrefill)) return;

  TileLoop<Types, kWarps<Types>> loop(DynamicShared<char>(), problem.head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), problem.head_dim, problem.logit_scale);
  const int lane = threadIdx.x % kWarpSize;
  const int warp_row = first_row + threadIdx.x / kWarpSize * kWarpRows;
  LoadQueries(problem, rows, warp_row, queries);
  const int mine[2] = {warp_row + lane / 4, warp_row + lane / 4 + 8};
  const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
  const int last_row = min(first_row + kRows<Types>, rows.count()) - 1;
  const int num_tiles = static_cast<int>(CeilDiv(rows.Visible(last_row), kTileKeys));
  RowStates<Types> split, total;
  loop.Run(problem.Rows(seq, kv_head), 0, num_tiles, visible, queries, split, [&](int done) {
    if (!SplitEndsAt((done + 1) * kTileKeys) && done + 1 != num_tiles) return;
    JoinLanes(split);
    JoinSplit(split, problem.logit_scale, total);
    split = RowStates<Types>();
  });
  typename Types::A* out[2];
  for (int r = 0; r < 2; ++r) {
    out[r] = mine[r] < rows.count()
                 ? problem.out + rows.Index(mine[r], problem.num_heads) * problem.head_dim
                 : nullptr;
  }
  StoreValues(total, problem.head_dim, out);
}

}  // namespace

Status PagedPrefillByWarps(Context& context, const PagedAttentionArgs& args) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2), [&](auto types) {
        using Types = decltype(types);
        const PagedProblem<Types> problem = MakeProblem<Types>(args, Share::kPrefill);
        const int64_t rows =
            int64_t{problem.num_tokens} * (problem.num_heads / problem.num_kv_heads);
        const dim3 grid(static_cast<unsigned>(problem.num_kv_heads),
                        static_cast<unsigned>(rows / kRows<Types> + problem.num_seqs));
        const int shared = TileLoop<Types, kWarps<Types>>::SharedBytes(problem.head_dim);
        return Launch("PagedPrefill", context.stream,
                      {grid, kWarps<Types> * kWarpSize, static_cast<size_t>(shared)},
                      &PrefillKernel<Types>, problem);
      });
}

Status PagedPrefill(Context& context, const PagedAttentionArgs& args) {
  const bool may_be_by_groups = args.query.dtype() == DType::kBf16 &&
                                args.kv_cache.dtype() == DType::kBf16 &&
                                args.query.dim(2) == PrefillGroupTypes::kHeadDim;
  if (may_be_by_groups) {
    LONGHAND_RETURN_IF_ERROR(PrepareAttention(context));
    if (context.attention_state.prefill_has_wgmma) return PagedPrefillByGroups(context, args);
  }
  return PagedPrefillByWarps(context, args);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
