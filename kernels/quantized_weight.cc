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
  const DType codes = weight.codes.dtype();
  if (codes == DType::kI8 || codes == DType::kF8E4M3) {
    if (weight.zeros.rank() > 0) {
      return InvalidArgument("zeros is ", weight.zeros.ToString(), "; codes of 8 bits have none");
    }
    if (codes == DType::kF8E4M3) {
      return CheckTensor("scales", weight.scales, DType::kF32, {out_features});
    }
    return CheckTensor("scales", weight.scales, DType::kBf16,
                       {out_features, NumInt8Groups(weight.in_features())});
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

void QuantizeFp8(const float* row, int64_t count, uint8_t* codes, float* scale) {
  const RowScale by(Largest(row, count), Fp8E4M3::kMax);
  for (int64_t i = 0; i < count; ++i) codes[i] = Fp8E4M3(row[i] * by.inverse).bits;
  *scale = by.scale;
}

namespace {

// 0, or NaN where one is no number.
float NanUnlessNumbers(const float* row, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += row[i] - row[i];
  return sum;
}

// The nearest whole number, -127 .. 127; NaN becomes -127.
float RoundToCode(float x) {
  // Adding 1.5 * 2^23 leaves whole numbers, rounded to nearest even.
  constexpr float kWhole = 0x1.8p23f;
  const float rounded = x + kWhole - kWhole;
  const float above = rounded > -kMaxInt8 ? rounded : -kMaxInt8;
  return above < kMaxInt8 ? above : kMaxInt8;
}

void RoundToInt8(const float* row, int64_t count, float inverse, int8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = static_cast<int8_t>(static_cast<int>(RoundToCode(row[i] * inverse)));
  }
}

// The sum of what codes with this scale lose of a group, squared.
float RoundingLoss(const float* row, int64_t count, float scale) {
  float losses[kInt8Group];
  const float inverse = 1 / scale;
  for (int64_t i = 0; i < count; ++i) {
    const float loss = RoundToCode(row[i] * inverse) * scale - row[i];
    losses[i] = loss * loss;
  }
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += losses[i];
  return sum;
}

// The bf16 number nearest to largest / 127, or the one above that: whose codes lose less.
Bf16 ChooseScale(const float* row, int64_t count) {
  const Bf16 near(RowScale(Largest(row, count), kMaxInt8).scale);
  if (near.bits == 0) return near;
  Bf16 above;
  above.bits = static_cast<uint16_t>(near.bits + 1);
  const bool is_near = RoundingLoss(row, count, static_cast<float>(near)) <=
                       RoundingLoss(row, count, static_cast<float>(above));
  return is_near ? near : above;
}

// fn(first element, elements, number) of each group.
template <typename Fn>
void ForInt8Groups(int64_t count, const Fn& fn) {
  for (int64_t first = 0; first < count; first += kInt8Group) {
    fn(first, std::min(kInt8Group, count - first), first / kInt8Group);
  }
}

}  // namespace

void QuantizeInt8(const float* row, int64_t count, int8_t* codes, float* scales) {
  ForInt8Groups(count, [&](int64_t first, int64_t n, int64_t group) {
    const RowScale by(Largest(row + first, n), kMaxInt8);
    RoundToInt8(row + first, n, by.inverse, codes + first);
    scales[group] = by.scale + NanUnlessNumbers(row + first, n);
  });
}

void QuantizeInt8(const float* row, int64_t count, int8_t* codes, Bf16* scales) {
  ForInt8Groups(count, [&](int64_t first, int64_t n, int64_t group) {
    scales[group] = ChooseScale(row + first, n);
    const auto scale = static_cast<float>(scales[group]);
    RoundToInt8(row + first, n, scale > 0 ? 1 / scale : 0, codes + first);
    if (std::isnan(NanUnlessNumbers(row + first, n))) scales[group] = Bf16(NAN);
  });
}

}  // namespace longhand::kernels
