// Attention over the paged KV cache for chunks of new tokens: causal, grouped query heads.
//
// Tensors as in paged_decode.cu. A block takes 64 rows of one sequence and KV head, a row being a
// query head of a token, so that the group shares what it reads. It goes through the keys in order
// and joins the splits as decode does, in registers: a token has the same bits either way.
//
// Launch     grid (row tiles, num_kv_heads), 128 threads; four warps of 16 rows share the tiles.
//            Tiles are given to sequences by cu_query_lens, at most one more than needed for each.
// Alignment  16-byte rows. Supported: attention_tiles.h; any block_size.
// Cost       4 * head_dim operations for each pair of row and visible key: tensor cores.
// Errors     kUnimplemented for other sizes, kInternal when a launch fails; block ids are trusted.
#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kRows = kWarps * kWarpRows;

// Tile t of the grid is in the last sequence s with FirstTile(s) <= t, and may lie after its rows.
template <typename Types>
__device__ int FirstTile(const PagedProblem<Types>& problem, int seq, int group) {
  return static_cast<int>(int64_t{problem.cu_query_lens[seq]} * group / kRows) + seq;
}

template <typename Types>
__global__ void __launch_bounds__(kThreads) PrefillKernel(PagedProblem<Types> problem) {
  const int group = problem.num_heads / problem.num_kv_heads;
  const int tile = blockIdx.x;
  int seq = 0, end = problem.num_seqs;
  while (end - seq > 1) {
    const int middle = (seq + end) / 2;
    (FirstTile(problem, middle, group) <= tile ? seq : end) = middle;
  }
  const HeadRows rows = HeadRowsOf(problem, seq, blockIdx.y);
  const int first_row = (tile - FirstTile(problem, seq, group)) * kRows;
  if (first_row >= rows.count() || !problem.IsMine(rows.query_len, Share::kPrefill)) return;

  TileLoop<Types, kWarps> loop(DynamicShared<char>(), problem.head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), problem.head_dim, problem.logit_scale);
  const int lane = threadIdx.x % kWarpSize;
  const int warp_row = first_row + threadIdx.x / kWarpSize * kWarpRows;
  LoadQueries(problem, rows, warp_row, queries);
  const int mine[2] = {warp_row + lane / 4, warp_row + lane / 4 + 8};
  const int visible[2] = {rows.Visible(mine[0]), rows.Visible(mine[1])};
  const int last_row = min(first_row + kRows, rows.count()) - 1;
  const int num_tiles = static_cast<int>(CeilDiv(rows.Visible(last_row), kTileKeys));
  RowStates<Types> split, total;
  loop.Run(problem.Rows(seq, blockIdx.y), 0, num_tiles, visible, queries, split, [&](int done) {
    if ((done + 1) % kSplitTiles != 0 && done + 1 != num_tiles) return;
    JoinLanes(split);
    JoinSplit(split, total);
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

Status PagedPrefill(Context& context, const PagedAttentionArgs& args) {
  return WithAttentionTypes(
      args.query.dtype(), args.kv_cache.dtype(), args.query.dim(2), [&](auto types) {
        using Types = decltype(types);
        const PagedProblem<Types> problem = MakeProblem<Types>(args, Share::kPrefill);
        const int64_t rows =
            int64_t{problem.num_tokens} * (problem.num_heads / problem.num_kv_heads);
        const dim3 grid(static_cast<unsigned>(rows / kRows + problem.num_seqs),
                        static_cast<unsigned>(problem.num_kv_heads));
        const int shared = TileLoop<Types, kWarps>::SharedBytes(problem.head_dim);
        return Launch("PagedPrefill", context.stream, {grid, kThreads, static_cast<size_t>(shared)},
                      &PrefillKernel<Types>, problem);
      });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
