// A row rounded to the numbers that fp8 has, its largest magnitude as 448, by a block: for every
// kernel that ends in rounded rows, with the same bits.
#pragma once

#include <type_traits>

#include "kernels/cuda/element.h"
#include "kernels/cuda/kv_bytes.h"
#include "kernels/cuda/reduce.h"

namespace longhand::kernels::LONGHAND_DEVICE {

template <bool kAligned>
__device__ __forceinline__ void StoreCodes(DeviceFp8* p,
                                           int64_t count,
                                           const uint32_t (&words)[2]) {
  if constexpr (kAligned) {
    *reinterpret_cast<uint2*>(p) = {words[0], words[1]};
  } else {
    for (int i = 0; i < kGroup && i < count; ++i) {
      p[i] = {static_cast<uint8_t>(words[i / 4] >> i % 4 * 8)};
    }
  }
}

// load(i, left, values) gives eight elements from i on, of which `left` exist, and twice the same.
// A thread of the kThreads takes groups of eight, and reads and writes only those. `out` has codes,
// or what they stand for.
template <int kThreads, bool kAligned, typename Load, typename Out>
__device__ __forceinline__ void RoundRow(
    Load&& load, int64_t width, Out* out, float* scale, float* scratch) {
  constexpr uint32_t kNan = 0x7f;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kGroup,
                step = int64_t{kThreads} * kGroup;
  float largest = 0;
  for (int64_t i = first; i < width; i += step) {
    float values[kGroup];
    load(i, width - i, values);
    for (int j = 0; j < kGroup; ++j) largest = fmaxf(largest, fabsf(values[j]));
  }
  largest = ReduceBlock(largest, scratch, [](float a, float b) { return fmaxf(a, b); });
  const DeviceRowScale by(largest, /*fp8=*/true);
  for (int64_t i = first; i < width; i += step) {
    float values[kGroup];
    load(i, width - i, values);
    uint32_t codes[2] = {};
    for (int j = 0; j < kGroup; ++j) {
      const float stored = __fmul_rn(values[j], by.inverse);
      const uint32_t code = isnan(stored) ? kNan : ToByte(stored, true);
      codes[j / 4] |= code << j % 4 * 8;
      values[j] = isnan(stored) ? stored : ByteOf<0>(code, true);
    }
    if constexpr (std::is_same_v<Out, DeviceFp8>) {
      StoreCodes<kAligned>(out + i, width - i, codes);
    } else {
      StoreGroup<kAligned>(out + i, width - i, values);
    }
  }
  if (threadIdx.x == 0) *scale = by.scale;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
