// Attention without a mask inside segments: the ViT's, over windows or whole pictures.
//
//   qkv         [T, 3, H, D]      f32 or bf16
//   cu_seqlens  [segments + 1]    i32
//   out         [T, H, D]         as qkv; summed in f32
//
// Launch     grid (row tiles, num_heads), four warps of 16 tokens that share the tiles of keys;
//            eight where segments are long. Tiles are given to segments by cu_seqlens, at most one
//            more than needed for each.
// Alignment  16-byte rows. Supported: attention_tiles.h.
// Cost       4 * head_dim operations for each pair of tokens of a segment: tensor cores.
// Errors     kUnimplemented for other sizes, kInternal when the launch fails; segments are trusted.
#include "kernels/cuda/vision_segments.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Sixteen warps a multiprocessor, eight where their registers do not allow more.
template <typename Types, int kWarps>
constexpr int kBlocksPerMultiprocessor = (Types::kHeadDim <= 80 ? 16 : 8) / kWarps;

template <typename Types, int kWarps>
__global__ void __launch_bounds__(kWarps* kWarpSize, kBlocksPerMultiprocessor<Types, kWarps>)
    VisionKernel(VisionProblem<typename Types::A> problem) {
  using A = typename Types::A;
  constexpr int kRows = kWarps * kWarpRows;
  const int tile = blockIdx.x, head = blockIdx.y, head_dim = problem.head_dim;
  const auto [first_token, num_tokens, first_row] = SegmentOf<kRows>(problem, tile);
  if (first_row >= num_tokens) return;

  TileLoop<Types, kWarps> loop(DynamicShared<char>(), head_dim);
  WarpQueries<Types> queries(loop.WarpMemory(), head_dim, problem.logit_scale);
  const int64_t stride = int64_t{3} * problem.num_heads * head_dim;
  const A* first = problem.qkv + first_token * stride + static_cast<int64_t>(head) * head_dim;
  const int warp_row = first_row + threadIdx.x / kWarpSize * kWarpRows;
  queries.Load(
      [&](int i) { return warp_row + i < num_tokens ? first + (warp_row + i) * stride : nullptr; });
  const int64_t width = int64_t{problem.num_heads} * head_dim;
  const KeyRows<A> keys = KeysOf(first, width, stride, num_tokens);
  const int lane = threadIdx.x % kWarpSize;
  int visible[2];
  A* out[2];
  for (int r = 0; r < 2; ++r) {
    const int row = warp_row + lane / 4 + 8 * r;
    visible[r] = row < num_tokens ? num_tokens : 0;
    out[r] =
        row < num_tokens
            ? problem.out +
                  (static_cast<int64_t>(first_token + row) * problem.num_heads + head) * head_dim
            : nullptr;
  }
  RowStates<Types> state;
  loop.Run(keys, 0, static_cast<int>(CeilDiv(num_tokens, kTileKeys)), visible, queries, state,
           [](int) {});
  JoinLanes(state);
  StoreValues(state, head_dim, out);
}

template <typename Types, int kWarps>
Status LaunchVision(Context& context, const VisionAttentionArgs& args) {
  using A = typename Types::A;
  const int64_t num_tokens = args.qkv.dim(0), num_heads = args.qkv.dim(2),
                head_dim = args.qkv.dim(3), num_segments = args.cu_seqlens.dim(0) - 1;
  const dim3 grid(static_cast<unsigned>(num_tokens / (kWarps * kWarpRows) + num_segments),
                  static_cast<unsigned>(num_heads));
  const int shared = TileLoop<Types, kWarps>::SharedBytes(static_cast<int>(head_dim));
  return Launch("VisionAttention", context.stream,
                {grid, kWarps * kWarpSize, static_cast<size_t>(shared)},
                &VisionKernel<Types, kWarps>,
                VisionProblem<A>{Elements<A>(args.qkv), Elements<int32_t>(args.cu_seqlens),
                                 Elements<A>(args.out), static_cast<int>(num_segments),
                                 static_cast<int>(num_heads), static_cast<int>(head_dim),
                                 LogitScale<Types>(args.scale)});
}

// A row has the same bits either way. A window is one tile of 64 rows; in a whole picture 128 rows
// or more read the keys once.
bool IsLong(const VisionAttentionArgs& args) {
  constexpr int64_t kLong = 256;
  return args.qkv.dim(0) >= kLong * (args.cu_seqlens.dim(0) - 1);
}

}  // namespace

Status VisionByWarps(Context& context, const VisionAttentionArgs& args) {
  const DType dtype = args.qkv.dtype();
  return WithAttentionTypes(dtype, dtype, args.qkv.dim(3), [&](auto types) {
    using Types = decltype(types);
    if constexpr (!std::is_same_v<typename Types::A, typename Types::Kv>) {
      return Internal("queries and keys of one tensor have one dtype");
    } else if constexpr (!Types::kTensorCores) {
      return LaunchVision<Types, 4>(context, args);
    } else {
      return IsLong(args) ? LaunchVision<Types, 8>(context, args)
                          : LaunchVision<Types, 4>(context, args);
    }
  });
}

Status VisionAttention(Context& context, const VisionAttentionArgs& args) {
  if (args.qkv.num_elements() == 0) return OkStatus();
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("qkv", args.qkv));
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("out", args.out));
  const bool may_be_by_groups = args.qkv.dtype() == DType::kBf16 &&
                                args.qkv.dim(3) == VisionGroupTypes::kHeadDim && IsLong(args);
  if (may_be_by_groups) {
    LONGHAND_RETURN_IF_ERROR(PrepareAttention(context));
    if (context.attention_state.vision_has_wgmma) return VisionByGroups(context, args);
  }
  return VisionByWarps(context, args);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
