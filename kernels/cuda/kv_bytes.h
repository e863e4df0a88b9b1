// A KV cache in 8 bits, int8 or fp8 (e4m3), on the device: elements to floats and back, and the
// scale of a row. kernels/row_scale.h and common/fp8.h say the same for the host; both give the
// same bits.
#pragma once

#include "kernels/cuda/element.h"
#include "kernels/row_scale.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Which of the two is known at run time: kernels differ in nothing else.
struct KvByte {
  uint8_t bits;
};

// Byte kByte of the word, before its scale.
template <int kByte>
__device__ __forceinline__ float ByteOf(uint32_t word, bool fp8) {
  if (!fp8) return static_cast<float>(static_cast<int8_t>(word >> 8 * kByte));
  // The bits as those of a float, whose exponent is biased by 120 more.
  const uint32_t top = word << (24 - 8 * kByte);
  return __fmul_rn(__uint_as_float((top & 0x80000000u) | (top >> 4 & 0x07f00000u)), 0x1p120f);
}

__device__ __forceinline__ float4 FourOf(uint32_t word, bool fp8, float scale) {
  return {__fmul_rn(ByteOf<0>(word, fp8), scale), __fmul_rn(ByteOf<1>(word, fp8), scale),
          __fmul_rn(ByteOf<2>(word, fp8), scale), __fmul_rn(ByteOf<3>(word, fp8), scale)};
}

__device__ __forceinline__ uint2 FourToBf16(uint32_t word, bool fp8, float scale) {
  const float4 x = FourOf(word, fp8, scale);
  return {PackBf16(x.x, x.y), PackBf16(x.z, x.w)};
}

// Nearest even. |x| is at most 127, or 448, but for rounding.
__device__ __forceinline__ uint8_t ToByte(float x, bool fp8) {
  if (!fp8)
    return static_cast<uint8_t>(static_cast<int8_t>(rintf(fmaxf(fminf(x, 127.0f), -127.0f))));
  const uint32_t sign = __float_as_uint(x) >> 24 & 0x80u;
  const float size = fminf(fabsf(x), 448.0f);
  // Adding 2^14 leaves multiples of 2^-9, rounded to nearest even, in the lowest bits.
  if (size < 0x1p-6f) {
    return static_cast<uint8_t>(sign | (__float_as_uint(__fadd_rn(size, 0x1p14f)) & 0xffu));
  }
  const uint32_t u = __float_as_uint(size);
  return static_cast<uint8_t>(sign | (((u + 0x7ffffu + (u >> 20 & 1u)) >> 20) - (120u << 3)));
}

// The scale of a row, and what its elements are multiplied by to be stored.
struct DeviceRowScale {
  float scale = 0, inverse = 0;
  __device__ __forceinline__ DeviceRowScale(float largest, bool fp8) {
    const float max = fp8 ? 448.0f : kMaxInt8;
    if (!(largest >= kSmallestRow)) return;
    scale = __fdiv_rn(largest, max);
    inverse = __fdiv_rn(max, largest);
  }
};

// Eight codes of fp8; element.h has the other types. kAligned: at a multiple of 8 bytes.
template <bool kAligned>
__device__ __forceinline__ void LoadGroup(const DeviceFp8* p, int64_t count, float (&out)[kGroup]) {
  uint2 words = {0, 0};
  if constexpr (kAligned) {
    words = *reinterpret_cast<const uint2*>(p);
  } else {
    for (int i = 0; i < kGroup && i < count; ++i) {
      (i < 4 ? words.x : words.y) |= uint32_t{p[i].bits} << 8 * (i % 4);
    }
  }
  const float4 low = FourOf(words.x, /*fp8=*/true, 1.0f);
  const float4 high = FourOf(words.y, /*fp8=*/true, 1.0f);
  out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
  out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
