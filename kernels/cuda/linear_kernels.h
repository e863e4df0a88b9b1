// The kernels of Linear; linear.cu chooses.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/packed_weight.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Tensor cores: x in bf16, and a weight that is bf16 or becomes it in registers; or both in fp8.
// Both sum a row alike, so the choice never shows in its bits.
constexpr int64_t kMaxSkinnyRows = 64;
// Where wgmma multiplies bf16, or codes, which is faster for more: of bf16 by an H200's times, of
// codes by the times that these let expect.
constexpr int64_t kMaxRowsBesideWgmma = 32;
constexpr int64_t kMaxCodesBesideWgmma = 16;
Status LinearSkinny(Context& context, const LinearArgs& args, const PackedWeight& weight);
Status LinearTiled(Context& context, const LinearArgs& args, const PackedWeight& weight);
// The same bits where LinearState says so; rows of x must lie at 16 bytes.
Status LinearWgmma(Context& context, const LinearArgs& args, const PackedWeight& weight);

// Rows of fp8, at 16 bytes, as wgmma takes them (fp8_halves.cu): rows of whole blocks of 64 k in
// f16. So many bytes of them are held at once.
constexpr int64_t kHalvesBytes = int64_t{80} << 20;
Status Fp8RowsToHalves(
    const Stream& stream, const void* x, int64_t num_rows, int64_t width, void* out);

// By a library (linear_large.cu): other bits, and only after SetDeterministic(false). From so many
// rows on, where its products are expected to win what unpacking takes: by an H100's figures of
// gate-up.
constexpr int64_t kLargeRows = 1024;
constexpr int64_t kLargeSlice = 2048;  // tokens whose gates and ups are held at once
bool IsLarge(const Context& context, const LinearArgs& args, const PackedWeight& weight);
Status LinearLarge(Context& context, const LinearArgs& args, const PackedWeight& weight);
inline int64_t LargeRowsBytes(const StepSizes& sizes) {
  return sizes.max_weight_elements * static_cast<int64_t>(sizeof(DeviceBf16));
}
inline int64_t LargeSumsBytes(const StepSizes& sizes) {
  return kLargeSlice * sizes.max_gate_up_features * static_cast<int64_t>(sizeof(DeviceBf16));
}

// The tensors of both.
struct TensorCoreProblem {
  const void* x;  // bf16 or fp8, as the weight's format says
  const unsigned char* weight;
  const float* bias;
  int64_t num_tokens, in_features, out_features;
  KParts parts;
  bool x_is_aligned;     // rows at 16 bytes are copied by 16 bytes, others by elements
  const void* scales;    // of codes: f32 by feature, or the words of groups
  const float* x_scale;  // by token, or null
  int blocks_per_group;  // int4: of 64 k
  int64_t num_gates;     // where the features are gates and ups; else 0
  bool joins_gates;      // out has their SwiGlu, and num_gates columns
};

inline TensorCoreProblem MakeProblem(const LinearArgs& args, const PackedWeight& weight) {
  const auto row_bytes = weight.in_features() * static_cast<int64_t>(DTypeSize(args.x.dtype()));
  return {
      .x = args.x.data(),
      .weight = weight.data<unsigned char>(),
      .bias = Elements<float>(args.bias),
      .num_tokens = args.x.dim(0),
      .in_features = weight.in_features(),
      .out_features = weight.out_features(),
      .parts = PartsOf(weight.in_features()),
      .x_is_aligned = row_bytes % 16 == 0 && reinterpret_cast<uintptr_t>(args.x.data()) % 16 == 0,
      .scales = weight.scales(),
      .x_scale = Elements<float>(args.x_scale),
      .blocks_per_group = static_cast<int>(weight.group_size() / kBlockK),
      .num_gates = weight.num_gates(),
      .joins_gates = args.out.dim(1) != weight.out_features()};
}

// Copies what becomes features [first, first + count) to the device; of gates and ups first their
// gates, then their ups: as rows of a weight with `count / 2` gates.
inline Status StageRows(Context& context,
                        const TensorView& rows,
                        int64_t num_gates,
                        int64_t first,
                        int64_t count,
                        void* to) {
  const auto row_bytes = static_cast<int64_t>(rows.num_bytes()) / rows.dim(0);
  const auto* from = Elements<char>(rows);
  const int64_t kinds = num_gates == 0 ? 1 : 2, bytes = count / kinds * row_bytes;
  for (int64_t kind = 0; kind < kinds; ++kind) {
    LONGHAND_RETURN_IF_ERROR(CopyToDevice(context.stream, static_cast<char*>(to) + kind * bytes,
                                          from + (kind * num_gates + first / kinds) * row_bytes,
                                          static_cast<size_t>(bytes)));
  }
  return OkStatus();
}

// Static shared memory of a kernel here, at most.
constexpr int kSharedForKernels = 1024;

// Where sums of parts meet that blocks made apart. kMaxSumsBytes is what a launch may use of it.
constexpr size_t kMaxSumsBytes = size_t{40} << 20;
constexpr int kMaxMeetings = 4096;
constexpr size_t kMeetingBytes = kMaxMeetings * sizeof(unsigned) + kMaxSumsBytes;
struct Meetings {
  unsigned* arrived;  // [kMaxMeetings] counts, zero between launches
  float4* sums;
};
inline Result<Meetings> TakeMeetings(Context& context) {
  LONGHAND_ASSIGN_OR_RETURN(void* const memory,
                            context.linear.sums.Take(context.stream, kMeetingBytes));
  auto* arrived = static_cast<unsigned*>(memory);
  return Meetings{arrived, reinterpret_cast<float4*>(arrived + kMaxMeetings)};
}
// For weights of so many in_features.
inline Status ReserveMeetings(Context& context, int64_t in_features) {
  return PartsOf(in_features).num_parts == 1 ? OkStatus() : TakeMeetings(context).status();
}

// Where a packed weight's parts lie (packed_weight.h).
struct PackedLayout {
  WeightFormat format;
  int64_t bytes;         // in all
  int64_t scale_offset;  // of codes; else 0
};
PackedLayout LayoutOf(const Stream& stream, const WeightShape& shape);

// LinearSkinny of weights in codes, and of bf16 where that is faster.
Status LinearStreams(Context& context, const LinearArgs& args, const PackedWeight& weight);
// Whether it would leave sums of parts of such a bf16 weight to be joined.
bool StreamsGoByParts(const Context& context, const TensorCoreProblem& problem);

// Before the first call with such a weight.
Status PrepareLinear(Context& context, WeightFormat format, int64_t in_features);

// f32 on either side: one chain of multiply-adds over k.
Status LinearFloat(Context& context, const LinearArgs& args, const PackedWeight& weight);

}  // namespace longhand::kernels::LONGHAND_DEVICE
