// out[i] = x[i] * weight^T + bias: packs weights and chooses the kernel.
//
//   x       [T, in_features]             f32, bf16 or fp8
//   weight  [out_features, in_features]  f32, bf16 or codes, packed (packed_weight.h)
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            as x, or f32; summed in f32
//
// Of gates and ups out is [T, out_features / 2]: the sums rounded as x, and their SwiGlu; or the
// rounded sums, gates and then ups.
//
// Errors     kResourceExhausted when the weight does not fit, kInvalidArgument for a weight that
//            another backend packed, kInternal when a launch fails, kUnimplemented for codes with
//            out in f32, or x in another dtype than the device multiplies by them.
#include <algorithm>
#include <utility>

#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kStagingBytes = int64_t{64} << 20;

// A thread writes one chunk. `rows` [num_rows, in_features] are those from the first feature of a
// tile on, as StageRows leaves them; rows and k's that do not exist are zeros.
__global__ void __launch_bounds__(kThreads) PackKernel(const DeviceBf16* rows,
                                                       int64_t num_rows,
                                                       int64_t num_gates,
                                                       int64_t in_features,
                                                       int64_t num_chunks,
                                                       DeviceBf16* packed) {
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (chunk >= num_chunks) return;
  const auto [row, first_k] = PlaceOfChunk(chunk, in_features);
  for (int i = 0; i < kGroup; ++i) {
    const int64_t k = first_k + i;
    packed[chunk * kGroup + i] = row < num_rows && k < in_features
                                     ? rows[SourceRow(row, num_gates) * in_features + k]
                                     : DeviceBf16{0};
  }
}

// By whole tiles, a limited number of rows at a time.
Status PackBf16Weight(Context& context, const TensorView& weight, int64_t num_gates, void* packed) {
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
    LONGHAND_RETURN_IF_ERROR(StageRows(context, weight, num_gates, row, num_rows, staging->data()));
    const int64_t num_chunks = CeilDiv(num_rows, kTileFeatures) * tile_elements / kGroup;
    LONGHAND_RETURN_IF_ERROR(
        Launch("PackLinear", context.stream,
               {static_cast<unsigned>(CeilDiv(num_chunks, kThreads)), kThreads}, &PackKernel,
               static_cast<const DeviceBf16*>(staging->data()), num_rows,
               num_gates == 0 ? int64_t{0} : num_rows / 2, in_features, num_chunks,
               static_cast<DeviceBf16*>(packed) + row / kTileFeatures * tile_elements));
  }
  return WaitFor(context.stream);
}

bool GoesToWgmma(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const LinearState::Trial* trial = context.linear.TrialOf(weight.format());
  return trial != nullptr && trial->is_same && MakeProblem(args, weight).x_is_aligned;
}

}  // namespace

bool MultipliesFp8([[maybe_unused]] const Stream& stream) {
#if defined(__CUDACC__)
  // What the code that runs here was compiled for, which may be older than the device.
  constexpr int kLeastPtx = 89;
  cudaFuncAttributes code;
  return cudaFuncGetAttributes(&code, &PackKernel) == cudaSuccess && code.ptxVersion >= kLeastPtx;
#else
  return stream.multiplies_fp8;
#endif
}

int64_t LinearBytes(const Stream& stream, const StepSizes& sizes) {
  if (sizes.max_in_features == 0) return 0;
  // A trial goes by parts, whatever the weights do.
  const bool by_parts = stream.may_have_wgmma || PartsOf(sizes.max_in_features).num_parts > 1;
  const bool as_halves = stream.may_have_wgmma && sizes.has_fp8_weights && MultipliesFp8(stream);
  return (by_parts ? static_cast<int64_t>(kMeetingBytes) : 0) + (as_halves ? kHalvesBytes : 0);
}

Result<std::unique_ptr<PackedLinear>> PackLinear(Context& context,
                                                 TensorView weight,
                                                 LinearLayout layout) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  const bool is_bf16 = weight.dtype() == DType::kBf16;
  const PackedLayout packed = LayoutOf(context.stream, {out_features, in_features, weight.dtype()});
  if (is_bf16) LONGHAND_RETURN_IF_ERROR(PrepareLinear(context, packed.format, in_features));
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                            AllocateMemory(context.stream, static_cast<size_t>(packed.bytes)));
  if (is_bf16) {
    LONGHAND_RETURN_IF_ERROR(PackBf16Weight(
        context, weight, layout == LinearLayout::kGateUp ? out_features / 2 : 0, buffer->data()));
  } else {
    LONGHAND_RETURN_IF_ERROR(
        CopyToDevice(context.stream, buffer->data(), weight.data(), weight.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context.stream));
  }
  return std::unique_ptr<PackedLinear>(std::make_unique<PackedWeight>(
      packed.format, layout, out_features, in_features, std::move(buffer)));
}

Status Linear(Context& context, const LinearArgs& args) {
  const auto* weight = dynamic_cast<const PackedWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  if (args.x.dim(0) == 0) return OkStatus();
  if (weight->is_quantized()) {
    const DType x = weight->format() == WeightFormat::kFp8 ? DType::kF8E4M3 : DType::kBf16;
    if (args.x.dtype() != x || args.out.dtype() != DType::kBf16) {
      return Unimplemented("x is ", args.x.ToString(), " and out ", args.out.ToString(),
                           "; with such a weight this device has x in ", DTypeName(x),
                           " and out in bfloat16 only");
    }
  } else if (args.x.dtype() != DType::kBf16 || weight->format() != WeightFormat::kBf16) {
    return LinearFloat(context, args, *weight);
  }
  const bool goes_to_wgmma = GoesToWgmma(context, args, *weight);
  const int64_t most_skinny = !goes_to_wgmma           ? kMaxSkinnyRows
                              : weight->is_quantized() ? kMaxCodesBesideWgmma
                                                       : kMaxRowsBesideWgmma;
  if (args.x.dim(0) <= most_skinny) return LinearSkinny(context, args, *weight);
  if (IsLarge(context, args, *weight)) return LinearLarge(context, args, *weight);
  return (goes_to_wgmma ? LinearWgmma : LinearTiled)(context, args, *weight);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
