// Packs fp8 and int4 weights: codes as the lanes of a warp take them (packed_weight.h).
//
//   codes  [out_features, in_features] fp8, or two int4 a byte
//
// Launch     a thread for each word of packed codes, 256 a block; a limited number of rows at a
// time. Cost       at load only: reads and writes each code once. Errors     kResourceExhausted
// when the weight does not fit, kUnimplemented for int8, kInternal when
//            the launch fails.
#include <algorithm>
#include <bit>
#include <type_traits>
#include <vector>

#include "common/check.h"
#include "kernels/cuda/weight_formats.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kStagingBytes = int64_t{64} << 20;
constexpr int64_t kScaleAlignment = 256;

// Rows from the first feature of a tile on, as StageRows leaves them; those that do not exist, and
// such k's, have code 0.
struct Codes {
  const uint8_t* rows;
  int64_t num_rows, in_features, num_gates;

  __device__ __forceinline__ uint32_t Byte(int64_t row, int64_t k) const {
    return row < num_rows && k < in_features ? rows[SourceRow(row, num_gates) * in_features + k]
                                             : 0;
  }
  __device__ __forceinline__ uint32_t Nibble(int64_t row, int64_t k) const {
    if (row >= num_rows || k >= in_features) return 0;
    return rows[(SourceRow(row, num_gates) * in_features + k) / 2] >> (k % 2 * 4) & 15u;
  }
};

// Register r of operand a, element e, of lane 4 g + q is feature 2 g + r % 2 and, of a step's 16 k,
// 2 q + e + r / 2 * 8; of 32 k in fp8, 4 q + e + r / 2 * 16.
template <typename Format>
__global__ void __launch_bounds__(kThreads)
    PackCodesKernel(Codes codes, int64_t num_words, int64_t num_blocks, uint32_t* packed) {
  constexpr bool kIsInt4 = std::is_same_v<Format, Int4Weights>;
  constexpr int kBlockWords = Format::kBytes / 4;
  constexpr int kPairWords = kBlockWords / 2, kLaneWords = kPairWords / kWarpSize;
  const int64_t idx = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (idx >= num_words) return;
  const int64_t block = idx / kBlockWords % num_blocks, tile = idx / kBlockWords / num_blocks;
  const int within = idx % kBlockWords;
  const int pair = within / kPairWords, lane = within % kPairWords / kLaneWords;
  const int word = within % kLaneWords;
  const int64_t row = tile * kTileFeatures + lane / 4 * 2;
  uint32_t out = 0;
  if constexpr (std::is_same_v<Format, Fp8Weights>) {
    const int64_t k = block * kBlockK + pair * 32 + word / 2 * 16 + lane % 4 * 4;
    for (int i = 0; i < 4; ++i) out |= codes.Byte(row + word % 2, k + i) << 8 * i;
  } else {
    const int half = kIsInt4 ? word : word / 2;
    const int64_t k = block * kBlockK + (2 * pair + half) * 16 + lane % 4 * 2;
    for (int i = 0; i < 4 && !kIsInt4; ++i) {
      out |= codes.Byte(row + i % 2, k + i / 2 + word % 2 * 8) << 8 * i;
    }
    for (int i = 0; i < 8 && kIsInt4; ++i) {
      out |= codes.Nibble(row + i % 2, k + i / 4 + i % 4 / 2 * 8) << 4 * i;
    }
  }
  packed[idx] = out;
}

template <typename Format>
Status PackCodes(Context& context,
                 const QuantizedWeight& weight,
                 int64_t num_gates,
                 unsigned char* packed) {
  const int64_t out_features = weight.out_features(), in_features = weight.in_features();
  const int64_t row_bytes = weight.codes.dim(1);
  const int64_t num_blocks = CeilDiv(in_features, kBlockK);
  const int64_t tile_bytes = num_blocks * Format::kBytes;
  const int64_t tiles_at_once = std::max<int64_t>(1, kStagingBytes / (row_bytes * kTileFeatures));
  const int64_t rows_at_once = std::min(tiles_at_once * kTileFeatures, out_features);
  LONGHAND_ASSIGN_OR_RETURN(
      const std::unique_ptr<Buffer> staging,
      AllocateMemory(context.stream, static_cast<size_t>(rows_at_once * row_bytes)));
  for (int64_t row = 0; row < out_features; row += rows_at_once) {
    const int64_t num_rows = std::min(rows_at_once, out_features - row);
    LONGHAND_RETURN_IF_ERROR(
        StageRows(context, weight.codes, num_gates, row, num_rows, staging->data()));
    const int64_t num_words = CeilDiv(num_rows, kTileFeatures) * tile_bytes / 4;
    LONGHAND_RETURN_IF_ERROR(Launch(
        "PackQuantized", context.stream,
        {static_cast<unsigned>(CeilDiv(num_words, kThreads)), kThreads}, &PackCodesKernel<Format>,
        Codes{static_cast<const uint8_t*>(staging->data()), num_rows, in_features,
              num_gates == 0 ? 0 : num_rows / 2},
        num_words, num_blocks,
        reinterpret_cast<uint32_t*>(packed + row / kTileFeatures * tile_bytes)));
  }
  return WaitFor(context.stream);
}

// By feature.
std::vector<uint32_t> GroupWords(const QuantizedWeight& weight, int64_t num_gates) {
  const int64_t num_groups = weight.scales.dim(1);
  const int64_t num_tiles = CeilDiv(weight.out_features(), kTileFeatures);
  std::vector<uint32_t> words(static_cast<size_t>(num_tiles * num_groups * kTileFeatures));
  for (int64_t n = 0; n < weight.out_features(); ++n) {
    const int64_t row = SourceRow(n, num_gates) * num_groups;
    for (int64_t g = 0; g < num_groups; ++g) {
      const auto scale = static_cast<float>(weight.scales.as<Bf16>()[row + g]);
      const auto zero = static_cast<float>(weight.zeros.as<uint8_t>()[row + g]);
      const int64_t at = (n / kTileFeatures * num_groups + g) * kTileFeatures + n % kTileFeatures;
      words[static_cast<size_t>(at)] =
          uint32_t{Bf16(scale * 64).bits} << 16 | uint32_t{Bf16(-zero / 64).bits};
    }
  }
  return words;
}

// fp8's, by feature.
std::vector<uint32_t> ScaleWords(const QuantizedWeight& weight, int64_t num_gates) {
  std::vector<uint32_t> words(static_cast<size_t>(weight.out_features()));
  for (int64_t n = 0; n < weight.out_features(); ++n) {
    words[static_cast<size_t>(n)] =
        std::bit_cast<uint32_t>(weight.scales.as<float>()[SourceRow(n, num_gates)]);
  }
  return words;
}

}  // namespace

PackedLayout LayoutOf(const Stream& stream, const WeightShape& shape) {
  const int64_t num_tiles = CeilDiv(shape.out_features, kTileFeatures);
  const int64_t num_blocks = num_tiles * CeilDiv(shape.in_features, kBlockK);
  if (shape.dtype == DType::kF32) {
    return {WeightFormat::kF32, shape.out_features * shape.in_features * int64_t{4}, 0};
  }
  if (shape.dtype == DType::kBf16) {
    return {WeightFormat::kBf16, num_blocks * Bf16Weights::kBytes, 0};
  }
  const bool is_int4 = shape.dtype == DType::kU8;
  const int64_t code_bytes = num_blocks * (is_int4 ? Int4Weights::kBytes : Fp8Weights::kBytes);
  const int64_t num_words = is_int4
                                ? num_tiles * kTileFeatures * (shape.in_features / shape.group_size)
                                : shape.out_features;
  const int64_t scale_offset = CeilDiv(code_bytes, kScaleAlignment) * kScaleAlignment;
  return {is_int4                 ? WeightFormat::kInt4
          : MultipliesFp8(stream) ? WeightFormat::kFp8
                                  : WeightFormat::kWidenedFp8,
          scale_offset + num_words * static_cast<int64_t>(sizeof(uint32_t)), scale_offset};
}

int64_t PackedBytes(const Stream& stream, const WeightShape& shape) {
  return LayoutOf(stream, shape).bytes;
}

Result<std::unique_ptr<PackedLinear>> PackQuantized(Context& context,
                                                    const QuantizedWeight& weight,
                                                    LinearLayout layout) {
  if (weight.codes.dtype() == DType::kI8) {
    return Unimplemented("codes is ", weight.codes.ToString(),
                         "; this backend has weights in fp8 and 4 bits");
  }
  const int64_t out_features = weight.out_features(), in_features = weight.in_features();
  const bool is_int4 = weight.is_int4();
  const auto [format, bytes, scale_offset] = LayoutOf(
      context.stream,
      {out_features, in_features, weight.codes.dtype(), is_int4 ? weight.group_size() : 0});
  LONGHAND_RETURN_IF_ERROR(PrepareLinear(context, format, in_features));
  const int64_t num_gates = layout == LinearLayout::kGateUp ? out_features / 2 : 0;
  const std::vector<uint32_t> words =
      is_int4 ? GroupWords(weight, num_gates) : ScaleWords(weight, num_gates);
  LONGHAND_CHECK_EQ(scale_offset + static_cast<int64_t>(words.size() * sizeof(uint32_t)), bytes);
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                            AllocateMemory(context.stream, static_cast<size_t>(bytes)));
  auto* packed = static_cast<unsigned char*>(buffer->data());
  LONGHAND_RETURN_IF_ERROR(CopyToDevice(context.stream, packed + scale_offset, words.data(),
                                        words.size() * sizeof(uint32_t)));
  LONGHAND_RETURN_IF_ERROR(format == WeightFormat::kInt4
                               ? PackCodes<Int4Weights>(context, weight, num_gates, packed)
                           : format == WeightFormat::kFp8
                               ? PackCodes<Fp8Weights>(context, weight, num_gates, packed)
                               : PackCodes<WidenedFp8Weights>(context, weight, num_gates, packed));
  return std::unique_ptr<PackedLinear>(
      std::make_unique<PackedWeight>(format, layout, out_features, in_features, std::move(buffer),
                                     scale_offset, is_int4 ? weight.group_size() : 0));
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
