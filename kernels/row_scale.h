// Rows in 8 bits, of KV caches, weights and activations: what a row's scale is.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/fp8.h"
#include "common/kv_dtype.h"

namespace longhand::kernels {

inline constexpr float kMaxInt8 = 127.0f;
// Rows smaller than this are stored as zeros, so that the inverse of a scale is a number.
inline constexpr float kSmallestRow = 0x1p-100f;

// Of a row whose largest magnitude is `largest`, stored as `max`. Every backend divides so.
struct RowScale {
  float scale = 0;
  float inverse = 0;
  RowScale(float largest, float max) {
    if (!(largest >= kSmallestRow)) return;
    scale = largest / max;
    inverse = max / largest;
  }
};

}  // namespace longhand::kernels
