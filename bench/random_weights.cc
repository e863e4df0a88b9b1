#include "bench/random_weights.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace longhand::bench {

using model::AllocateTensor;
using model::DeviceTensor;
using model::TensorSlice;

std::vector<uint16_t> RandomBf16(size_t count, int scale_log2) {
  std::vector<uint16_t> out((count + 3) / 4 * 4);
  constexpr uint64_t kFractionsAndSigns = 0x80ff80ff80ff80ff;
  // The lowest bit of the exponent is random too.
  const auto exponent = static_cast<uint64_t>((126 + scale_log2) & ~1) << 7;
  const uint64_t exponents = exponent * 0x0001000100010001;
  uint64_t state = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < out.size(); i += 4) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const uint64_t four = (state & kFractionsAndSigns) | exponents;
    std::memcpy(&out[i], &four, sizeof(four));
  }
  out.resize(count);
  return out;
}

// Of codes a layer's elements have some 2^-6 for their standard deviation, like those in bf16.
constexpr float kFp8Scale = 0x1p-6f, kInt8Scale = 0x1p-12f, kInt4Scale = 0x1p-8f;
constexpr int64_t kGroupSize = 128;
constexpr uint8_t kMiddle = 8;  // of 4 bits

RandomWeights::RandomWeights(const ModelConfig& config,
                             const ShardPlan& plan,
                             Quantization quantization,
                             kernels::Ops& ops)
    : WeightSource(quantization), ops_(ops), sizes_(config) {
  // The head, or gate and up, which are one matrix, here and in the encoder, or its merger.
  const RankShard& shard = plan.ranks[0];
  int64_t largest =
      std::max(std::max(plan.padded_vocab_rows, 2 * shard.ffn.size()) * config.hidden_size,
               2 * config.vision.padded_intermediate_size() * config.vision.hidden_size);
  for (const auto& [name, size] : sizes_.all()) {
    if (name.starts_with("visual.")) largest = std::max(largest, size.rows * size.columns);
  }
  // 2^-6: between the inverse roots of 1280 and 29568. A sixteenth more, so that parts differ.
  const auto pool_size = static_cast<size_t>(largest + largest / 16 + 64);
  pool_ = RandomBf16(pool_size, /*scale_log2=*/-6);
  if (quantization == Quantization::kNone) return;
  codes_.resize(pool_size);
  std::mt19937_64 random(/*seed=*/5);
  for (uint8_t& code : codes_) {
    code = static_cast<uint8_t>(random());
    // fp8 from 0.5 to 1.9, int8 from 48 to 80, of either sign.
    if (quantization != Quantization::kAwq) code = (code & 0x8f) | 0x30;
  }
}

int64_t RandomWeights::NextOffset(int64_t count, int64_t pool_size) {
  LONGHAND_CHECK(count <= pool_size) << count << " of " << pool_size;
  // An odd number of cache lines further each time.
  next_offset_ = (next_offset_ + 32 * 99991) % (pool_size - count + 1) / 32 * 32;
  return next_offset_;
}

TensorView RandomWeights::Part(int64_t rows, int64_t columns) {
  const int64_t offset = NextOffset(rows * columns, static_cast<int64_t>(pool_.size()));
  return TensorView(pool_.data() + offset, DType::kBf16, {rows, columns});
}

Result<std::unique_ptr<kernels::PackedLinear>> RandomWeights::Linear(
    const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) {
  const model::TensorSize size = sizes_.Of(slices);
  const TensorView part = Part(size.rows, size.columns);
  done_bytes_ += static_cast<int64_t>(part.num_bytes());
  return ops_.PackLinear(part, layout);
}

Result<std::unique_ptr<kernels::PackedLinear>> RandomWeights::LayerLinear(
    const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) {
  if (quantization() == Quantization::kNone) return Linear(slices, layout);
  const auto [rows, columns] = sizes_.Of(slices);
  const bool is_awq = quantization() == Quantization::kAwq;
  const int64_t row_bytes = is_awq ? columns / 2 : columns;
  const DType dtype = is_awq                                 ? DType::kU8
                      : quantization() == Quantization::kFp8 ? DType::kF8E4M3
                                                             : DType::kI8;
  uint8_t* codes =
      codes_.data() + NextOffset(rows * row_bytes, static_cast<int64_t>(codes_.size()));
  kernels::QuantizedWeight weight;
  weight.codes = TensorView(codes, dtype, {rows, row_bytes});
  const int64_t group_size = ShardGroupSize({0, columns}, kGroupSize);
  const bool is_fp8 = quantization() == Quantization::kFp8;
  const int64_t groups = is_awq ? columns / group_size : kernels::NumInt8Groups(columns);
  std::vector<float> scales(is_fp8 ? static_cast<size_t>(rows) : 0, kFp8Scale);
  std::vector<Bf16> group_scales(is_fp8 ? 0 : static_cast<size_t>(rows * groups),
                                 Bf16(is_awq ? kInt4Scale : kInt8Scale));
  std::vector<uint8_t> zeros(is_awq ? group_scales.size() : 0, kMiddle);
  if (is_fp8) {
    weight.scales = TensorView(scales.data(), DType::kF32, {rows});
  } else {
    weight.scales = TensorView(group_scales.data(), DType::kBf16, {rows, groups});
  }
  if (is_awq) weight.zeros = TensorView(zeros.data(), DType::kU8, {rows, groups});
  done_bytes_ += static_cast<int64_t>(weight.num_bytes());
  return ops_.PackQuantized(weight, layout);
}

Result<DeviceTensor> RandomWeights::Matrix(const TensorSlice& slice) {
  const model::TensorSize size = sizes_.Of(slice);
  const TensorView part = Part(size.rows, size.columns);
  LONGHAND_ASSIGN_OR_RETURN(DeviceTensor out,
                            AllocateTensor(ops_, DType::kBf16, {size.rows, size.columns}));
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(out.view.data(), part.data(), part.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  done_bytes_ += static_cast<int64_t>(part.num_bytes());
  return out;
}

// Norms of 1, and biases of 1: what they are costs nothing.
Result<DeviceTensor> RandomWeights::Vector(const std::vector<TensorSlice>& slices) {
  const int64_t count = sizes_.Of(slices).rows;
  const std::vector<float> ones(static_cast<size_t>(count), 1.0f);
  LONGHAND_ASSIGN_OR_RETURN(DeviceTensor out, AllocateTensor(ops_, DType::kF32, {count}));
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(out.view.data(), ones.data(), out.view.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  done_bytes_ += static_cast<int64_t>(out.view.num_bytes());
  return out;
}

}  // namespace longhand::bench
