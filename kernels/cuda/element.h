// Elements of tensors in device code: bf16 and its conversions, groups of eight, argument views.
#pragma once

#include "common/tensor_view.h"
#include "kernels/cuda/device.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// As longhand::Bf16, whose functions are the host's.
struct DeviceBf16 {
  uint16_t bits;
};

// As longhand::Fp8E4M3.
struct DeviceFp8 {
  uint8_t bits;
};

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(DeviceBf16 x) {
  return __uint_as_float(uint32_t{x.bits} << 16);
}

// Two floats to bf16, nearest even; `low` in the lower half.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
#if defined(__CUDACC__)
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return Bf16(low).bits | uint32_t{Bf16(high).bits} << 16;
#endif
}

template <typename T>
__device__ __forceinline__ T FromFloat(float x);
template <>
__device__ __forceinline__ float FromFloat<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ DeviceBf16 FromFloat<DeviceBf16>(float x) {
  return {static_cast<uint16_t>(PackBf16(x, 0.0f))};
}

__device__ __forceinline__ float LowBf16(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float HighBf16(uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

// a b + c of two bf16 each, rounded once where a b is exact in f32.
__device__ __forceinline__ uint32_t FmaBf16x2(uint32_t a, uint32_t b, uint32_t c) {
#if defined(__CUDACC__)
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
#else
  return PackBf16(fmaf(LowBf16(a), LowBf16(b), LowBf16(c)),
                  fmaf(HighBf16(a), HighBf16(b), HighBf16(c)));
#endif
}

// Eight neighbours, the unit of wide loads and stores. `count` of them exist; the others read as 0.
// kAligned: all eight exist, at a multiple of 16 bytes.
constexpr int kGroup = 8;

template <bool kAligned>
__device__ __forceinline__ void LoadGroup(const float* p, int64_t count, float (&out)[kGroup]) {
  if constexpr (kAligned) {
    const float4 a = reinterpret_cast<const float4*>(p)[0];
    const float4 b = reinterpret_cast<const float4*>(p)[1];
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
    out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
  } else {
    for (int i = 0; i < kGroup; ++i) out[i] = i < count ? p[i] : 0.0f;
  }
}

template <bool kAligned>
__device__ __forceinline__ void LoadGroup(const DeviceBf16* p,
                                          int64_t count,
                                          float (&out)[kGroup]) {
  if constexpr (kAligned) {
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    out[0] = LowBf16(v.x), out[1] = HighBf16(v.x), out[2] = LowBf16(v.y), out[3] = HighBf16(v.y);
    out[4] = LowBf16(v.z), out[5] = HighBf16(v.z), out[6] = LowBf16(v.w), out[7] = HighBf16(v.w);
  } else {
    for (int i = 0; i < kGroup; ++i) out[i] = i < count ? ToFloat(p[i]) : 0.0f;
  }
}

template <bool kAligned>
__device__ __forceinline__ void StoreGroup(float* p, int64_t count, const float (&x)[kGroup]) {
  if constexpr (kAligned) {
    reinterpret_cast<float4*>(p)[0] = {x[0], x[1], x[2], x[3]};
    reinterpret_cast<float4*>(p)[1] = {x[4], x[5], x[6], x[7]};
  } else {
    for (int i = 0; i < kGroup && i < count; ++i) p[i] = x[i];
  }
}

template <bool kAligned>
__device__ __forceinline__ void StoreGroup(DeviceBf16* p, int64_t count, const float (&x)[kGroup]) {
  if constexpr (kAligned) {
    *reinterpret_cast<uint4*>(p) = {PackBf16(x[0], x[1]), PackBf16(x[2], x[3]),
                                    PackBf16(x[4], x[5]), PackBf16(x[6], x[7])};
  } else {
    for (int i = 0; i < kGroup && i < count; ++i) p[i] = FromFloat<DeviceBf16>(x[i]);
  }
}

// silu(gate) * up, in operations that are named: the bits are the same wherever it is computed. The
// quotient is the device's fast one, within two units of the last place.
__device__ __forceinline__ float SwiGluOf(float gate, float up) {
  return __fmul_rn(__fdividef(gate, __fadd_rn(1.0f, expf(-gate))), up);
}

// A tensor's elements for a kernel's argument. The dtype was checked by Ops.
template <typename T>
T* Elements(const TensorView& tensor) {
  return static_cast<T*>(tensor.data());
}

// Rows of `width` elements can be read in groups of eight.
inline bool RowsAreAligned(const TensorView& tensor, int64_t width) {
  return width % kGroup == 0 && reinterpret_cast<uintptr_t>(tensor.data()) % 16 == 0;
}

// Calls fn(float{}) or fn(DeviceBf16{}) by the dtype.
template <typename Fn>
Status WithDeviceType(DType dtype, Fn&& fn) {
  return dtype == DType::kF32 ? fn(float{}) : fn(DeviceBf16{});
}

__host__ __device__ constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace longhand::kernels::LONGHAND_DEVICE
