// Rows in 8 bits, of KV caches, weights and activations: what a row's scale is.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/fp8.h"
#include "common/kv_dtype.h"
#include "kernels/int8_group.h"

namespace longhand::kernels {

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
