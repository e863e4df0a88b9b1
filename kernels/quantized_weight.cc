#include "kernels/quantized_weight.h"

#include <algorithm>
#include <cmath>

#include "common/fp8.h"
#include "kernels/argument_checks.h"
#include "kernels/kv_scales.h"

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

void QuantizeRow(const float* row, int64_t count, DType code_dtype, void* codes, float* scale) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(row[i]));
  if (code_dtype == DType::kF8E4M3) {
    const KvScale by(largest, Fp8E4M3::kMax);
    auto* out = static_cast<Fp8E4M3*>(codes);
    for (int64_t i = 0; i < count; ++i) out[i] = Fp8E4M3(row[i] * by.inverse);
    *scale = by.scale;
    return;
  }
  const KvScale by(largest, kMaxInt8);
  auto* out = static_cast<int8_t*>(codes);
  for (int64_t i = 0; i < count; ++i) {
    out[i] =
        static_cast<int8_t>(std::clamp(std::nearbyint(row[i] * by.inverse), -kMaxInt8, kMaxInt8));
  }
  *scale = by.scale;
}

}  // namespace longhand::kernels
