// The ViT's attention by wgmma, for whole pictures: what vision_attention.cu does, with its bits.
//
// Tensors as there: bf16, head_dim 80. A block takes 192 tokens of a segment.
//
// Launch     grid (row tiles, num_heads), 512 threads, of which 128 copy (attention_groups.h).
// Alignment  16-byte rows.
// Cost       4 * head_dim operations for each pair of tokens of a segment: tensor cores.
// Errors     kInternal when the launch fails; segments are trusted.
#include "kernels/cuda/attention_groups.h"
#include "kernels/cuda/tile_copier.h"
#include "kernels/cuda/vision_segments.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using Group = GroupTypes<VisionGroupTypes::kHeadDim, 3, 4, false, true, true>;

__global__ void __launch_bounds__(Group::kThreads, 1)
    GroupVisionKernel(VisionProblem<DeviceBf16> problem) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const int head = blockIdx.y;
  const auto [first_token, num_tokens, first_row] =
      SegmentOf<Group::kRows>(problem, static_cast<int>(blockIdx.x));
  if (first_row >= num_tokens) return;
  const int num_tiles = static_cast<int>(CeilDiv(num_tokens, kTileKeys));
  const int64_t width = int64_t{problem.num_heads} * Group::kHeadDim, stride = 3 * width;
  const DeviceBf16* first =
      problem.qkv + first_token * stride + static_cast<int64_t>(head) * Group::kHeadDim;

  GroupMemory<Group>& memory = PrepareMemory<Group>();
  const int warpgroup = GroupOfThread();
  if (warpgroup == Group::kGroups) {
    GiveRegisters<Group::kCopyRegisters>();
    TileCopier<Group> copier(memory);
    copier.Run(KeysOf(first, width, stride, num_tokens), num_tiles);
    copier.Finish();
  } else {
    TakeRegisters<Group::kMultiplyRegisters>();
    const int group_row = first_row + warpgroup * kGroupRows;
    GroupRowsLoop<Group> loop(memory, problem.logit_scale);
    loop.Load(first, stride, [&](int i) {
      const int row = group_row + i;
      return row < num_tokens ? row : -1;
    });
    const int lane = threadIdx.x % kWarpSize;
    const int warp_row = group_row + threadIdx.x % kGroupThreads / kWarpSize * kWarpRows;
    const int visible[2] = {num_tokens, num_tokens};
    RowStates<VisionGroupTypes> state;
    loop.Run(num_tiles, visible, num_tokens, [](int) { return false; }, state);
    DeviceBf16* out[2];
    for (int r = 0; r < 2; ++r) {
      const int row = warp_row + lane / 4 + 8 * r;
      out[r] =
          row < num_tokens
              ? problem.out + (static_cast<int64_t>(first_token + row) * problem.num_heads + head) *
                                  Group::kHeadDim
              : nullptr;
    }
    StoreRows(state, out);
  }
#endif
}

}  // namespace

Status VisionByGroups(Context& context, const VisionAttentionArgs& args) {
  const int64_t num_tokens = args.qkv.dim(0), num_heads = args.qkv.dim(2),
                num_segments = args.cu_seqlens.dim(0) - 1;
  const dim3 grid(static_cast<unsigned>(num_tokens / Group::kRows + num_segments),
                  static_cast<unsigned>(num_heads));
  return Launch(
      "VisionGroups", context.stream, {grid, Group::kThreads, GroupMemory<Group>::Bytes()},
      &GroupVisionKernel,
      VisionProblem<DeviceBf16>{Elements<DeviceBf16>(args.qkv), Elements<int32_t>(args.cu_seqlens),
                                Elements<DeviceBf16>(args.out), static_cast<int>(num_segments),
                                static_cast<int>(num_heads), Group::kHeadDim,
                                LogitScale<VisionGroupTypes>(args.scale)});
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
