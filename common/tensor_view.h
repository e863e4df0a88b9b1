// TensorView: shape, dtype and a pointer to memory that somebody else owns. Row-major and contiguous.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/bf16.h"
#include "common/check.h"
#include "common/fp8.h"

namespace longhand {

enum class DType : uint8_t { kF32, kBf16, kF16, kI8, kU8, kI32, kI64, kBool, kF8E4M3 };

size_t DTypeSize(DType dtype);            // bytes of one element
std::string_view DTypeName(DType dtype);  // "float32", "bfloat16", "int64", ...

template <typename T>
struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::kF32; };
template <> struct DTypeOf<Bf16> { static constexpr DType value = DType::kBf16; };
template <> struct DTypeOf<Fp8E4M3> { static constexpr DType value = DType::kF8E4M3; };
template <> struct DTypeOf<int8_t> { static constexpr DType value = DType::kI8; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::kU8; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::kI32; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::kI64; };

class TensorView {
 public:
  static constexpr int kMaxRank = 5;

  TensorView() = default;
  // Contiguous. An empty view (no data, rank 0) stands for an optional tensor that is absent.
  TensorView(void* data, DType dtype, std::initializer_list<int64_t> shape);

  bool empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  int rank() const { return rank_; }
  int64_t dim(int i) const {
    LONGHAND_CHECK(i >= 0 && i < rank_) << "dimension " << i << " of " << ToString();
    return shape_[i];
  }
  int64_t num_elements() const;
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * DTypeSize(dtype_); }
  void* data() const { return data_; }

  // The elements, checked against the dtype.
  template <typename T>
  T* as() const {
    LONGHAND_CHECK(dtype_ == DTypeOf<T>::value) << "wrong element type for " << ToString();
    return static_cast<T*>(data_);
  }
  // Rows [begin, begin + count) of dimension 0.
  TensorView Slice(int64_t begin, int64_t count) const;
  bool HasShape(std::initializer_list<int64_t> shape) const;
  std::string ToString() const;  // "bfloat16[3, 128]"

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  int8_t rank_ = 0;
  std::array<int64_t, kMaxRank> shape_{};
};

}  // namespace longhand
