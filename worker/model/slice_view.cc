#include "worker/model/slice_view.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/bf16.h"

namespace longhand::model {
namespace {

// IEEE half precision to float; exact.
float HalfToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float value = static_cast<float>(fraction) * 0x1.0p-24f;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112u;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

template <DType kFrom>
float LoadElement(const char* from) {
  if constexpr (kFrom == DType::kF32) {
    float value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  } else {
    uint16_t bits;
    std::memcpy(&bits, from, sizeof(bits));
    if constexpr (kFrom == DType::kF16) return HalfToFloat(bits);
    Bf16 value;
    value.bits = bits;
    return static_cast<float>(value);
  }
}

template <DType kFrom, typename To>
void ConvertTo(const char* from, char* to, int64_t count) {
  constexpr int64_t kSize = kFrom == DType::kF32 ? sizeof(float) : sizeof(uint16_t);
  for (int64_t i = 0; i < count; ++i) {
    const To value(LoadElement<kFrom>(from + i * kSize));
    std::memcpy(to + i * static_cast<int64_t>(sizeof(To)), &value, sizeof(To));
  }
}

template <typename To>
void ConvertFrom(DType dtype, const char* from, char* to, int64_t count) {
  if (dtype == DType::kF32) return ConvertTo<DType::kF32, To>(from, to, count);
  if (dtype == DType::kF16) return ConvertTo<DType::kF16, To>(from, to, count);
  ConvertTo<DType::kBf16, To>(from, to, count);
}

IndexRange OrAll(IndexRange range, int64_t count) {
  return range.size() == 0 ? IndexRange{0, count} : range;
}

}  // namespace

void Convert(const char* from, DType from_dtype, char* to, DType to_dtype, int64_t count) {
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count) * DTypeSize(from_dtype));
    return;
  }
  if (to_dtype == DType::kF32) return ConvertFrom<float>(from_dtype, from, to, count);
  ConvertFrom<Bf16>(from_dtype, from, to, count);
}

SliceView ViewOf(const Checkpoint& checkpoint, const TensorSlice& slice) {
  SliceView view;
  view.tensor = checkpoint.Find(slice.name);
  LONGHAND_CHECK(view.tensor != nullptr && !view.tensor->shape.empty()) << slice.name;
  const int64_t rows = view.tensor->shape[0];
  view.width = 1;
  for (size_t i = 1; i < view.tensor->shape.size(); ++i) view.width *= view.tensor->shape[i];
  view.rows = OrAll(slice.rows, rows);
  view.columns = OrAll(slice.columns, view.width);
  LONGHAND_CHECK(view.rows.end <= rows && view.columns.end <= view.width) << slice.name;
  view.padded_rows = std::max(view.rows.size(), slice.padded_rows);
  view.padded_columns = std::max(view.columns.size(), slice.padded_columns);
  return view;
}

}  // namespace longhand::model
