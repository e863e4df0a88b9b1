#include "common/tensor_view.h"

#include <algorithm>

namespace longhand {

size_t DTypeSize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBf16:
    case DType::kF16: return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
    case DType::kF8E4M3: return 1;
    case DType::kI64: return 8;
  }
  return 0;
}

std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "float32";
    case DType::kBf16: return "bfloat16";
    case DType::kF16: return "float16";
    case DType::kI8: return "int8";
    case DType::kU8: return "uint8";
    case DType::kI32: return "int32";
    case DType::kI64: return "int64";
    case DType::kBool: return "bool";
    case DType::kF8E4M3: return "float8_e4m3fn";
  }
  return "unknown";
}

TensorView::TensorView(void* data, DType dtype, std::initializer_list<int64_t> shape)
    : data_(data), dtype_(dtype), rank_(static_cast<int8_t>(shape.size())) {
  LONGHAND_CHECK(shape.size() <= kMaxRank);
  std::copy(shape.begin(), shape.end(), shape_.begin());
}

int64_t TensorView::num_elements() const {
  int64_t count = 1;
  for (int i = 0; i < rank_; ++i) count *= shape_[i];
  return rank_ == 0 ? 0 : count;
}

TensorView TensorView::Slice(int64_t begin, int64_t count) const {
  LONGHAND_CHECK(rank_ > 0 && begin >= 0 && count >= 0 && begin + count <= shape_[0])
      << "rows " << begin << " + " << count << " of " << ToString();
  TensorView out = *this;
  const int64_t row = shape_[0] == 0 ? 0 : num_elements() / shape_[0];
  out.data_ = static_cast<char*>(data_) + begin * row * static_cast<int64_t>(DTypeSize(dtype_));
  out.shape_[0] = count;
  return out;
}

bool TensorView::HasShape(std::initializer_list<int64_t> shape) const {
  return rank_ == static_cast<int>(shape.size()) &&
         std::equal(shape.begin(), shape.end(), shape_.begin());
}

std::string TensorView::ToString() const {
  std::string out(DTypeName(dtype_));
  out += "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(shape_[i]);
  }
  return out + "]";
}

}  // namespace longhand
