// Attention over the paged KV cache for chunks of new tokens, by wgmma: what paged_prefill.cu does,
// with its bits.
//
// Tensors as in paged_decode.cu: bf16, head_dim 128. A block takes 128 rows of one sequence and KV
// head at a time, a row being a query head of a token.
//
// Launch     a block a multiprocessor, each for row tiles from the longest on; 384 threads, of
//            which 128 copy (attention_groups.h); 193 KiB.
// Alignment  16-byte rows. Any block_size.
// Cost       4 * head_dim operations for each pair of row and visible key: tensor cores.
// Errors     kInternal when the launch fails; block ids are trusted.
#include <algorithm>

#include "kernels/cuda/attention_groups.h"
#include "kernels/cuda/prefill_tiles.h"
#include "kernels/cuda/tile_copier.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using Group = GroupTypes<PrefillGroupTypes::kHeadDim, 2, 4, true, false, false>;

// Rows of a sequence and KV head, and the tiles of keys that they see.
struct Item {
  int seq, first_row, num_tiles;
  HeadRows rows;
};

// Those of this block, which takes one in each round. What sees the most keys comes first, and the
// rounds go to and fro, so that blocks come to see about as many.
template <typename Do>
__device__ __forceinline__ void ForEachItem(const PagedProblem<PrefillGroupTypes>& problem,
                                            int num_items,
                                            Do&& take) {
  const int group = problem.num_heads / problem.num_kv_heads;
  const int block = blockIdx.x, num_blocks = gridDim.x;
#pragma unroll 1
  for (int begin = 0, back = 0; begin < num_items; begin += num_blocks, back ^= 1) {
    const int i = begin + (back != 0 ? num_blocks - 1 - block : block);
    if (i >= num_items) continue;
    const int tile = (num_items - 1 - i) / problem.num_kv_heads;
    Item item;
    item.seq = SeqOfTile<Group::kRows>(problem, tile, group);
    item.rows = HeadRowsOf(problem, item.seq, i % problem.num_kv_heads);
    item.first_row = (tile - FirstTile<Group::kRows>(problem, item.seq, group)) * Group::kRows;
    if (item.first_row >= item.rows.count() ||
        !problem.IsMine(item.rows.query_len, Share::kPrefill)) {
      continue;
    }
    const int last_row = min(item.first_row + Group::kRows, item.rows.count()) - 1;
    item.num_tiles = static_cast<int>(CeilDiv(item.rows.Visible(last_row), kTileKeys));
    take(item);
  }
}

__global__ void __launch_bounds__(Group::kThreads, 1)
    GroupPrefillKernel(PagedProblem<PrefillGroupTypes> problem, int num_items) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  GroupMemory<Group>& memory = PrepareMemory<Group>();
  const int warpgroup = GroupOfThread();
  if (warpgroup == Group::kGroups) {
    GiveRegisters<Group::kCopyRegisters>();
    TileCopier<Group> copier(memory);
    ForEachItem(problem, num_items, [&](const Item& item) {
      const KeyRows<DeviceBf16> keys = problem.Rows(item.seq, item.rows.kv_head);
      copier.Run(keys, item.num_tiles);
    });
    copier.Finish();
  } else {
    TakeRegisters<Group::kMultiplyRegisters>();
    GroupRowsLoop<Group> loop(memory, problem.logit_scale);
    ForEachItem(problem, num_items, [&](const Item& item) {
      const HeadRows& rows = item.rows;
      const int group_row = item.first_row + warpgroup * kGroupRows;
      loop.Load(problem.query, Group::kHeadDim, [&](int i) {
        const int row = group_row + i;
        return row < rows.count() ? static_cast<int>(rows.Index(row, problem.num_heads)) : -1;
      });
      const int lane = threadIdx.x % kWarpSize;
      const int warp_row = group_row + threadIdx.x % kGroupThreads / kWarpSize * kWarpRows;
      const int mine[2] = {warp_row + lane / 4, warp_row + lane / 4 + 8};
      // Rows that do not exist see all, so that no tile is masked for them.
      const auto visible_of = [&](int row) {
        return row < rows.count() ? rows.Visible(row) : item.num_tiles * kTileKeys;
      };
      const int visible[2] = {visible_of(mine[0]), visible_of(mine[1])};
      RowStates<PrefillGroupTypes> total;
      // SplitEndsAt, without a division: splits' lengths are powers of two.
      const auto split_ends = [](int done) {
        const int key = (done + 1) * kTileKeys;
        return (key & ((key <= kLongSplitsBegin ? kShortSplitKeys : kLongSplitKeys) - 1)) == 0;
      };
      loop.Run(item.num_tiles, visible, visible_of(group_row), split_ends, total);
      DeviceBf16* out[2];
      for (int r = 0; r < 2; ++r) {
        out[r] = mine[r] < rows.count()
                     ? problem.out + rows.Index(mine[r], problem.num_heads) * Group::kHeadDim
                     : nullptr;
      }
      StoreRows(total, out);
    });
  }
#endif
}

}  // namespace

Status PagedPrefillByGroups(Context& context, const PagedAttentionArgs& args) {
  const auto problem = MakeProblem<PrefillGroupTypes>(args, Share::kPrefill);
  const int64_t rows = int64_t{problem.num_tokens} * (problem.num_heads / problem.num_kv_heads);
  const auto num_items =
      static_cast<int>((rows / Group::kRows + problem.num_seqs) * problem.num_kv_heads);
  const auto num_blocks =
      static_cast<unsigned>(std::min(num_items, context.stream.num_multiprocessors));
  return Launch("PrefillGroups", context.stream,
                {num_blocks, Group::kThreads, GroupMemory<Group>::Bytes()}, &GroupPrefillKernel,
                problem, num_items);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
