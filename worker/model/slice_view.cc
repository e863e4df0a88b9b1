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

float LoadElement(const char* from, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  if (dtype == DType::kF16) return HalfToFloat(bits);
  Bf16 value;
  value.bits = bits;
  return static_cast<float>(value);
}

IndexRange OrAll(IndexRange range, int64_t count) {
  return range.size() == 0 ? IndexRange{0, count} : range;
}

}  // namespace

void Convert(const char* from, DType from_dtype, char* to, DType to_dtype, int64_t count) {
  const size_t from_size = DTypeSize(from_dtype);
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count) * from_size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float value = LoadElement(from + i * from_size, from_dtype);
    if (to_dtype == DType::kF32) {
      std::memcpy(to + i * sizeof(float), &value, sizeof(float));
    } else {
      const Bf16 rounded(value);
      std::memcpy(to + i * sizeof(Bf16), &rounded, sizeof(Bf16));
    }
  }
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
