#include "kernels/quantized_weight.h"

#include <algorithm>
#include <cmath>

#include "common/fp8.h"
#include "kernels/argument_checks.h"
#include "kernels/row_scale.h"

namespace longhand::kernels {

size_t QuantizedWeight::num_bytes() const {
  const size_t zero_bytes = is_int4() ? static_cast<size_t>(zeros.num_elements() + 1) / 2 : 0;
  return codes.num_bytes() + scales.num_bytes() + zero_bytes;
}

Status CheckQuantizedWeight(const QuantizedWeight& weight) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("codes", weight.codes, 2));
  const int64_t out_features = weight.codes.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("out_features", out_features, 1));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("in_features", weight.in_features(), 1));
  if (weight.codes.dtype() == DType::kI8 || weight.codes.dtype() == DType::kF8E4M3) {
    if (weight.zeros.rank() > 0) {
      return InvalidArgument("zeros is ", weight.zeros.ToString(), "; codes of 8 bits have none");
    }
    return CheckTensor("scales", weight.scales, DType::kF32, {out_features});
  }
  if (!weight.is_int4()) {
    return InvalidArgument("codes is ", weight.codes.ToString(),
                           "; it must be float8_e4m3fn, int8, or uint8 with two of 4 bits a byte");
  }
  LONGHAND_RETURN_IF_ERROR(CheckRank("scales", weight.scales, 2));
  const int64_t groups = weight.scales.dim(1), in_features = weight.in_features();
  if (groups < 1 || in_features % groups != 0 || in_features / groups % kLeastGroup != 0) {
    return InvalidArgument("scales is ", weight.scales.ToString(), "; groups of ", in_features,
                           " elements must have a multiple of ", kLeastGroup);
  }
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("scales", weight.scales, DType::kBf16, {out_features, groups}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("zeros", weight.zeros, DType::kU8, {out_features, groups}));
  const uint8_t* zeros = weight.zeros.as<uint8_t>();
  for (int64_t i = 0; i < out_features * groups; ++i) {
    if (zeros[i] <= 15) continue;
    return InvalidArgument("zeros[", i, "] is ", static_cast<int>(zeros[i]),
                           "; it must be at most 15");
  }
  return OkStatus();
}

namespace {

// Of the magnitudes; in lanes, so that compilers make vectors of them.
float Largest(const float* row, int64_t count) {
  constexpr int64_t kLanes = 16;
  float largest[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float size = std::abs(row[i + j]);
      largest[j] = size > largest[j] ? size : largest[j];
    }
  }
  for (; i < count; ++i) largest[0] = std::max(largest[0], std::abs(row[i]));
  return *std::max_element(largest, largest + kLanes);
}

}  // namespace

void QuantizeRow(const float* row, int64_t count, DType code_dtype, void* codes, float* scale) {
  const float largest = Largest(row, count);
  if (code_dtype == DType::kF8E4M3) {
    const RowScale by(largest, Fp8E4M3::kMax);
    auto* out = static_cast<uint8_t*>(codes);
    for (int64_t i = 0; i < count; ++i) out[i] = Fp8E4M3(row[i] * by.inverse).bits;
    *scale = by.scale;
    return;
  }
  const RowScale by(largest, kMaxInt8);
  auto* out = static_cast<int8_t*>(codes);
  // Adding 1.5 * 2^23 leaves whole numbers, rounded to nearest even.
  constexpr float kWhole = 0x1.8p23f;
  for (int64_t i = 0; i < count; ++i) {
    const float rounded = row[i] * by.inverse + kWhole - kWhole;
    out[i] = static_cast<int8_t>(static_cast<int>(std::clamp(rounded, -kMaxInt8, kMaxInt8)));
  }
  *scale = by.scale;
}

}  // namespace longhand::kernels
