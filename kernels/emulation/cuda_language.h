// CUDA's words for g++: a .cu file includes this (through kernels/cuda/device.h) where nvcc is not
// the compiler. Only what the kernels use is here.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/emulation/grid.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
// Blocks of one OS thread run one after the other.
#define __shared__ static thread_local

#define threadIdx (::longhand::kernels::emulation::Position().thread)
#define blockIdx (::longhand::kernels::emulation::Position().block)
#define blockDim (::longhand::kernels::emulation::Position().block_dim)
#define gridDim (::longhand::kernels::emulation::Position().grid_dim)

using std::isfinite;
using std::isnan;
using std::max;
using std::min;

using dim3 = longhand::kernels::emulation::Dim3;

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline void __syncthreads() { longhand::kernels::emulation::Barrier(0, 0); }

namespace longhand::kernels::emulation {

template <typename T>
T Shuffle(const char* name, uint32_t mask, T value, int source) {
  struct Slot {
    T value;
    int source;
    T result;
  };
  Slot slot{value, source, value};
  WarpOperation(
      name, mask,
      [](void* const(&slots)[32], uint32_t lanes) {
        for (int lane = 0; lane < 32; ++lane) {
          if ((lanes >> lane & 1) == 0) continue;
          Slot* reader = static_cast<Slot*>(slots[lane]);
          if ((lanes >> reader->source & 1) == 0) Fail("a shuffle reads a lane outside its mask");
          reader->result = static_cast<Slot*>(slots[reader->source])->value;
        }
      },
      &slot);
  return slot.result;
}

}  // namespace longhand::kernels::emulation

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int segment = longhand::kernels::emulation::Lane() & ~(width - 1);
  return longhand::kernels::emulation::Shuffle("__shfl_sync", mask, value,
                                               segment | (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  const int source = longhand::kernels::emulation::Lane() ^ (lane_mask & 31);
  return longhand::kernels::emulation::Shuffle("__shfl_xor_sync", mask, value, source);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta) {
  const int lane = longhand::kernels::emulation::Lane();
  return longhand::kernels::emulation::Shuffle("__shfl_up_sync", mask, value,
                                               lane < delta ? lane : lane - delta);
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  longhand::kernels::emulation::WarpOperation(
      "__syncwarp", mask, [](void* const(&)[32], uint32_t) {}, nullptr);
}

inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  struct Slot {
    bool predicate;
    unsigned result;
  };
  Slot slot{predicate, 0};
  longhand::kernels::emulation::WarpOperation(
      "__ballot_sync", mask,
      [](void* const(&slots)[32], uint32_t lanes) {
        unsigned result = 0;
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes >> lane & 1)
            result |= unsigned{static_cast<Slot*>(slots[lane])->predicate} << lane;
        }
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes >> lane & 1) static_cast<Slot*>(slots[lane])->result = result;
        }
      },
      &slot);
  return slot.result;
}

// Threads of one launch share an OS thread.
template <typename T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}
template <typename T>
T atomicOr(T* address, T value) {
  const T before = *address;
  *address = before | value;
  return before;
}
template <typename T>
T atomicExch(T* address, T value) {
  const T before = *address;
  *address = value;
  return before;
}
template <typename T>
T atomicMax(T* address, T value) {
  const T before = *address;
  *address = std::max(before, value);
  return before;
}
inline void __threadfence() {}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t bytes = low | uint64_t{high} << 32;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> (selector >> 4 * i & 7u) * 8 & 0xffu) << 8 * i;
  }
  return result;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
