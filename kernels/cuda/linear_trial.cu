// What Linear needs before its first weight of a format, and whether wgmma multiplies that one with
// mma.sync's bits on this device, by trying both. Where it does not, Linear keeps to mma.sync: a
// row has the same bits in any number of rows.
#include <algorithm>
#include <vector>

#include "common/bf16.h"
#include "common/split_mix.h"
#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Two parts of k; with both, more than a round of stages.
constexpr int64_t kRows = 128, kIn = 1664, kOut = 128;
static_assert(kIn > kLeastPart && kIn % (2 * kBlockK) == 0);

// Of numbers in rows of kIn, made by next(is_opposite) for those whose block of 64 k is an even
// one: the next block has their opposites, so that what is left of a sum is how it was rounded,
// which shows in bf16 too.
template <typename T, typename Draw>
std::vector<T> InOpposites(int64_t num_rows, Draw&& draw, T (*opposite)(T)) {
  std::vector<T> values(static_cast<size_t>(num_rows * kIn));
  for (int64_t i = 0; i < num_rows * kIn; ++i) {
    const bool is_second = i % kIn / kBlockK % 2 == 1;
    values[i] = is_second ? opposite(values[i - kBlockK]) : draw();
  }
  return values;
}
template <typename T>
T Same(T value) {
  return value;
}

class Trial {
 public:
  explicit Trial(Context& context) : context_(context) {}

  Result<bool> OfBf16() {
    std::vector<DeviceBf16> weight(kOut * kIn), x(kRows * kIn);
    for (auto* values : {&weight, &x}) {
      for (DeviceBf16& value : *values) value = DrawBf16();
    }
    LONGHAND_ASSIGN_OR_RETURN(
        const std::unique_ptr<PackedLinear> packed,
        PackLinear(context_, TensorView(weight.data(), DType::kBf16, {kOut, kIn}),
                   LinearLayout::kPlain));
    return WritesTheSame(*packed, x.data(), DType::kBf16, DType::kF32);
  }

  Result<bool> OfFp8() {
    const auto draw = [&] {
      const uint64_t bits = SplitMix64(random_);
      const uint64_t exponent = 2 + (bits >> 8) % 11;
      return static_cast<uint8_t>((bits & 0x87) | exponent << 3);
    };
    std::vector<uint8_t> weight =
        InOpposites<uint8_t>(kOut, draw, [](uint8_t code) -> uint8_t { return code ^ 0x80; });
    std::vector<uint8_t> x = InOpposites<uint8_t>(kRows, draw, &Same);
    std::vector<float> scales(kOut, 1.0f);
    LONGHAND_ASSIGN_OR_RETURN(
        const std::unique_ptr<PackedLinear> packed,
        PackQuantized(context_,
                      {.codes = TensorView(weight.data(), DType::kF8E4M3, {kOut, kIn}),
                       .scales = TensorView(scales.data(), DType::kF32, {kOut}),
                       .zeros = {}},
                      LinearLayout::kPlain));
    return WritesTheSame(*packed, x.data(), DType::kF8E4M3, DType::kBf16);
  }

  // In groups of a block: codes from 1 to 15 with a zero of 8, and a block's scales again in the
  // next.
  Result<bool> OfInt4() {
    constexpr int64_t kGroups = kIn / kBlockK;
    const std::vector<uint8_t> elements = InOpposites<uint8_t>(
        kOut, [&] { return static_cast<uint8_t>(1 + SplitMix64(random_) % 15); },
        [](uint8_t code) { return static_cast<uint8_t>(16 - code); });
    std::vector<uint8_t> codes(elements.size() / 2), zeros(kOut * kGroups, 8);
    for (size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<uint8_t>(elements[2 * i] | elements[2 * i + 1] << 4);
    }
    std::vector<DeviceBf16> scales(kOut * kGroups);
    for (size_t i = 0; i < scales.size(); ++i) {
      scales[i] = i % 2 == 0 ? DrawBf16() : scales[i - 1];
    }
    std::vector<DeviceBf16> x = InOpposites<DeviceBf16>(kRows, [&] { return DrawBf16(); }, &Same);
    LONGHAND_ASSIGN_OR_RETURN(
        const std::unique_ptr<PackedLinear> packed,
        PackQuantized(context_,
                      {.codes = TensorView(codes.data(), DType::kU8, {kOut, kIn / 2}),
                       .scales = TensorView(scales.data(), DType::kBf16, {kOut, kGroups}),
                       .zeros = TensorView(zeros.data(), DType::kU8, {kOut, kGroups})},
                      LinearLayout::kPlain));
    return WritesTheSame(*packed, x.data(), DType::kBf16, DType::kBf16);
  }

 private:
  // Of both signs, with ten exponents.
  DeviceBf16 DrawBf16() {
    const uint64_t bits = SplitMix64(random_);
    const uint64_t exponent = 122 + (bits >> 8) % 10;
    return {static_cast<uint16_t>((bits & 0x807f) | exponent << 7)};
  }

  // In each width of tile that few rows get, and in the wide one.
  Result<bool> WritesTheSame(const PackedLinear& weight, const void* x, DType x_dtype, DType out) {
    const size_t bytes = static_cast<size_t>(kRows * kIn) * DTypeSize(x_dtype);
    LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<Buffer> memory,
                              AllocateMemory(context_.stream, bytes));
    LONGHAND_RETURN_IF_ERROR(CopyToDevice(context_.stream, memory->data(), x, bytes));
    const auto rows_by = [&](auto kernel, int64_t num_rows) {
      return Rows(kernel, weight, TensorView(memory->data(), x_dtype, {num_rows, kIn}), out);
    };
    LONGHAND_ASSIGN_OR_RETURN(const std::vector<char> expected, rows_by(&LinearTiled, kRows));
    bool is_same = true;
    for (const int64_t num_rows : {kRows, kRows / 2, kRows / 4}) {
      LONGHAND_ASSIGN_OR_RETURN(const std::vector<char> rows, rows_by(&LinearWgmma, num_rows));
      is_same = is_same && std::equal(rows.begin(), rows.end(), expected.begin());
    }
    return is_same;
  }

  Result<std::vector<char>> Rows(Status (*kernel)(Context&, const LinearArgs&, const PackedWeight&),
                                 const PackedLinear& weight,
                                 TensorView x,
                                 DType out_dtype) {
    std::vector<char> rows(static_cast<size_t>(x.dim(0) * kOut) * DTypeSize(out_dtype));
    LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<Buffer> out,
                              AllocateMemory(context_.stream, rows.size()));
    LinearArgs args;
    args.x = x;
    args.weight = &weight;
    args.out = TensorView(out->data(), out_dtype, {x.dim(0), kOut});
    LONGHAND_RETURN_IF_ERROR(kernel(context_, args, static_cast<const PackedWeight&>(weight)));
    LONGHAND_RETURN_IF_ERROR(CopyToHost(context_.stream, rows.data(), out->data(), rows.size()));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context_.stream));
    return rows;
  }

  Context& context_;
  uint64_t random_ = 5;
};

}  // namespace

LinearState::Trial* LinearState::TrialOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return &bf16;
    case WeightFormat::kFp8:
      return &fp8;
    case WeightFormat::kInt4:
      return &int4;
    case WeightFormat::kF32:
    case WeightFormat::kWidenedFp8:
      return nullptr;
  }
  return nullptr;
}

Status PrepareLinear(Context& context, WeightFormat format, int64_t in_features) {
  LinearState& state = context.linear;
  // Now, so that no call of Linear allocates.
  LONGHAND_RETURN_IF_ERROR(ReserveMeetings(context, in_features));
#if defined(__CUDACC__)
  state.shared_bytes = context.stream.shared_bytes;
#else
  // A device without wgmma has less.
  state.shared_bytes = (context.stream.may_have_wgmma ? 227 : 99) << 10;
#endif
  LinearState::Trial* trial = state.TrialOf(format);
  if (trial == nullptr || trial->is_done || !context.stream.may_have_wgmma) return OkStatus();
  if (format == WeightFormat::kFp8) {
    LONGHAND_RETURN_IF_ERROR(state.halves.Take(context.stream, kHalvesBytes).status());
  }
  trial->is_done = true;  // Its own weight comes here, too.
  Trial of(context);
  const Result<bool> is_same = format == WeightFormat::kBf16  ? of.OfBf16()
                               : format == WeightFormat::kFp8 ? of.OfFp8()
                                                              : of.OfInt4();
  // Where there was no memory, say, the next load tries again.
  trial->is_done = is_same.ok();
  LONGHAND_RETURN_IF_ERROR(is_same.status());
  trial->is_same = *is_same;
  return OkStatus();
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
