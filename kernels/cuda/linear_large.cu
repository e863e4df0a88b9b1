// out = x * weight^T for many rows by a library, where bits may depend on their number.
//
//   x       [T, in_features]             bf16
//   weight  [out_features, in_features]  bf16, packed (packed_weight.h)
//   out     [T, out_columns]             bf16
//
// The library has a layout of its own for neither, so the weight is put back into rows before each
// product: that is what a second copy of all weights would spare. Of gates and ups the sums go
// through a workspace, so many tokens at a time, and then through SwiGlu.
//
// Launch     UnpackWeight: 256 threads, a chunk of eight elements each; the library's own.
// Alignment  rows of 16 bytes.
// Cost       4 in_features * out_features bytes beside the product, and 6 T bytes a feature of
// gates and ups. Workspace  a weight's rows, the sums of kLargeSlice tokens, the library's: Reserve
// takes them. Errors     kInternal when a launch fails or the library refuses.
#include <algorithm>

#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

// A thread takes one chunk.
__global__ void __launch_bounds__(kThreads) UnpackKernel(const DeviceBf16* packed,
                                                         int64_t out_features,
                                                         int64_t num_gates,
                                                         int64_t in_features,
                                                         int64_t num_chunks,
                                                         DeviceBf16* rows) {
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (chunk >= num_chunks) return;
  const ChunkPlace place = PlaceOfChunk(chunk, in_features);
  if (place.feature >= out_features || place.first_k >= in_features) return;
  *reinterpret_cast<uint4*>(rows + SourceRow(place.feature, num_gates) * in_features +
                            place.first_k) =
      *reinterpret_cast<const uint4*>(packed + chunk * kGroup);
}

Status UnpackWeight(Context& context, const PackedWeight& weight, void* rows) {
  const int64_t num_chunks =
      static_cast<int64_t>(weight.size_bytes()) / static_cast<int64_t>(sizeof(DeviceBf16)) / kGroup;
  return Launch("UnpackWeight", context.stream,
                {static_cast<unsigned>(CeilDiv(num_chunks, kThreads)), kThreads}, &UnpackKernel,
                weight.data<DeviceBf16>(), weight.out_features(), weight.num_gates(),
                weight.in_features(), num_chunks, static_cast<DeviceBf16*>(rows));
}

bool IsAligned(const TensorView& rows) { return RowsAreAligned(rows, rows.dim(1)); }

}  // namespace

Status ReserveLarge(Context& context, const StepSizes& sizes) {
  LargeState& large = context.large;
  if (large.products == nullptr || sizes.max_weight_elements == 0) return OkStatus();
  for (const auto& [workspace, bytes] : {std::pair{&large.rows, LargeRowsBytes(sizes)},
                                         {&large.sums, LargeSumsBytes(sizes)},
                                         {&large.scratch, LargeProducts::kScratchBytes}}) {
    LONGHAND_RETURN_IF_ERROR(workspace->Take(context.stream, static_cast<size_t>(bytes)).status());
  }
  large.max_weight_elements = sizes.max_weight_elements;
  large.max_gate_up_features = sizes.max_gate_up_features;
  return OkStatus();
}

int64_t LargeBytes(const Context& context, const StepSizes& sizes) {
  if (context.large.products == nullptr || sizes.max_weight_elements == 0) return 0;
  return LargeRowsBytes(sizes) + LargeSumsBytes(sizes) + LargeProducts::kScratchBytes;
}

bool IsLarge(const Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const LargeState& large = context.large;
  return large.products != nullptr && args.x.dim(0) >= kLargeRows &&
         weight.format() == WeightFormat::kBf16 && args.out.dtype() == DType::kBf16 &&
         args.bias.empty() && args.out.dim(1) == weight.out_columns() && IsAligned(args.x) &&
         IsAligned(args.out) && weight.out_features() % kGroup == 0 &&
         weight.out_features() * weight.in_features() <= large.max_weight_elements &&
         weight.num_gates() * 2 <= large.max_gate_up_features;
}

Status LinearLarge(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  LargeState& large = context.large;
  const int64_t num_tokens = args.x.dim(0);
  LONGHAND_ASSIGN_OR_RETURN(void* const rows, large.rows.Take(context.stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(void* const scratch, large.scratch.Take(context.stream, 0));
  LONGHAND_RETURN_IF_ERROR(UnpackWeight(context, weight, rows));
  const auto multiply = [&](const TensorView& x, void* out) {
    return large.products->Multiply(context.stream,
                                    {.x = x.data(),
                                     .weight = rows,
                                     .out = out,
                                     .num_tokens = x.dim(0),
                                     .in_features = weight.in_features(),
                                     .out_features = weight.out_features()},
                                    scratch);
  };
  if (weight.num_gates() == 0) return multiply(args.x, args.out.data());
  LONGHAND_ASSIGN_OR_RETURN(void* const sums, large.sums.Take(context.stream, 0));
  for (int64_t first = 0; first < num_tokens; first += kLargeSlice) {
    const int64_t count = std::min(kLargeSlice, num_tokens - first);
    LONGHAND_RETURN_IF_ERROR(multiply(args.x.Slice(first, count), sums));
    LONGHAND_RETURN_IF_ERROR(
        SwiGlu(context, {.gate_up = TensorView(sums, DType::kBf16, {count, weight.out_features()}),
                         .out = args.out.Slice(first, count)}));
  }
  return OkStatus();
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
