// out[i] = x[i] * weight^T + bias: packs weights and chooses the kernel.
//
//   x       [T, in_features]             f32 or bf16
//   weight  [out_features, in_features]  f32 or bf16, packed (packed_weight.h)
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            as x, or f32; summed in f32
//
// Errors     kResourceExhausted when the weight does not fit, kInvalidArgument for a weight that
//            another backend packed, kInternal when a launch fails.
#include <algorithm>

#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kStagingBytes = int64_t{64} << 20;

// A thread writes one lane's share of one half block. `rows` [num_rows, in_features] are those from
// the first feature of a tile on; rows and k's that do not exist are zeros.
__global__ void __launch_bounds__(kThreads) PackKernel(const DeviceBf16* rows,
                                                       int64_t num_rows,
                                                       int64_t in_features,
                                                       int64_t num_shares,
                                                       DeviceBf16* packed) {
  const int64_t share = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (share >= num_shares) return;
  const int64_t num_blocks = CeilDiv(in_features, kBlockK);
  const int lane = share % kWarpSize, half = share / kWarpSize % 2;
  const int64_t block = share / (2 * kWarpSize) % num_blocks;
  const int64_t tile = share / (2 * kWarpSize) / num_blocks;
  DeviceBf16* out = packed + share * kLaneElements;
  for (int i = 0; i < kLaneElements; ++i) {
    const int reg = i / 2;
    const int64_t row = tile * kTileFeatures + lane / 4 + reg % 2 * 8;
    const int64_t k = block * kBlockK + lane % 4 * 8 + half * 4 + reg / 2 * 2 + i % 2;
    out[i] = row < num_rows && k < in_features ? rows[row * in_features + k] : DeviceBf16{0};
  }
}

// By whole tiles, a limited number of rows at a time.
Status PackBf16Weight(Context& context, const TensorView& weight, void* packed) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  const int64_t row_bytes = in_features * static_cast<int64_t>(sizeof(DeviceBf16));
  const int64_t tiles_at_once = std::max<int64_t>(1, kStagingBytes / (row_bytes * kTileFeatures));
  const int64_t rows_at_once = std::min(tiles_at_once * kTileFeatures, out_features);
  const int64_t tile_elements = CeilDiv(in_features, kBlockK) * kTileBlock;
  LONGHAND_ASSIGN_OR_RETURN(
      const std::unique_ptr<Buffer> staging,
      AllocateMemory(context.stream, static_cast<size_t>(rows_at_once * row_bytes)));
  for (int64_t row = 0; row < out_features; row += rows_at_once) {
    const int64_t num_rows = std::min(rows_at_once, out_features - row);
    LONGHAND_RETURN_IF_ERROR(CopyToDevice(context.stream, staging->data(),
                                          Elements<char>(weight) + row * row_bytes,
                                          static_cast<size_t>(num_rows * row_bytes)));
    const int64_t num_shares = CeilDiv(num_rows, kTileFeatures) * tile_elements / kLaneElements;
    LONGHAND_RETURN_IF_ERROR(
        Launch("PackLinear", context.stream,
               {static_cast<unsigned>(CeilDiv(num_shares, kThreads)), kThreads}, &PackKernel,
               static_cast<const DeviceBf16*>(staging->data()), num_rows, in_features, num_shares,
               static_cast<DeviceBf16*>(packed) + row / kTileFeatures * tile_elements));
  }
  return WaitFor(context.stream);
}

}  // namespace

Result<std::unique_ptr<PackedLinear>> PackLinear(Context& context, TensorView weight) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  const bool is_bf16 = weight.dtype() == DType::kBf16;
  const int64_t bytes = is_bf16
                            ? CeilDiv(out_features, kTileFeatures) * CeilDiv(in_features, kBlockK) *
                                  kTileBlock * static_cast<int64_t>(sizeof(DeviceBf16))
                            : static_cast<int64_t>(weight.num_bytes());
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                            AllocateMemory(context.stream, static_cast<size_t>(bytes)));
  if (is_bf16) {
    LONGHAND_RETURN_IF_ERROR(PackBf16Weight(context, weight, buffer->data()));
  } else {
    LONGHAND_RETURN_IF_ERROR(
        CopyToDevice(context.stream, buffer->data(), weight.data(), weight.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context.stream));
  }
  return std::unique_ptr<PackedLinear>(
      std::make_unique<PackedWeight>(weight.dtype(), out_features, in_features, std::move(buffer)));
}

Status Linear(Context& context, const LinearArgs& args) {
  const auto* weight = dynamic_cast<const PackedWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  if (args.x.dim(0) == 0) return OkStatus();
  if (args.x.dtype() != DType::kBf16 || weight->dtype() != DType::kBf16) {
    return LinearFloat(context, args, *weight);
  }
  return args.x.dim(0) <= kMaxSkinnyRows ? LinearSkinny(context, args, *weight)
                                         : LinearTiled(context, args, *weight);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
