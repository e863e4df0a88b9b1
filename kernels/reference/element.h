// Reads and writes f32 and bf16 elements as floats.
#pragma once

#include <cstdint>

#include "common/bf16.h"
#include "common/check.h"
#include "common/fp8.h"
#include "common/tensor_view.h"

namespace longhand::kernels::reference {

// Calls fn(float{}) or fn(Bf16{}) by the dtype, so that a loop is written once for both.
template <typename Fn>
void WithFloatType(DType dtype, Fn&& fn) {
  if (dtype == DType::kF32) return fn(float{});
  LONGHAND_CHECK(dtype == DType::kBf16) << DTypeName(dtype);
  fn(Bf16{});
}

// As WithFloatType, and int8_t{} or Fp8E4M3{} for what is kept in 8 bits.
template <typename Fn>
void WithKvType(DType dtype, Fn&& fn) {
  if (dtype == DType::kI8) return fn(int8_t{});
  if (dtype == DType::kF8E4M3) return fn(Fp8E4M3{});
  WithFloatType(dtype, fn);
}

inline double ToDouble(float value) { return value; }
inline double ToDouble(Bf16 value) { return static_cast<float>(value); }
inline double ToDouble(int8_t value) { return value; }
inline double ToDouble(Fp8E4M3 value) { return static_cast<float>(value); }

}  // namespace longhand::kernels::reference
