// The kernels with which the benches fill memory and measure a device's read bandwidth. Included by
// .cu files.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/status.h"

namespace longhand::bench {

inline constexpr int kReadThreads = 512;
inline constexpr int kReadLoads = 8;  // 16-byte loads that a thread has in flight
inline constexpr int64_t kReadChunk = int64_t{kReadThreads} * kReadLoads * 16;  // bytes

inline Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return OkStatus();
  return Internal(what, ": ", cudaGetErrorString(error));
}

__device__ inline uint32_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>(x >> 32);
}

// The sum of four bytes of a hash is bell-shaped: mean 510, deviation 147.8.
template <bool kBf16>
__global__ void FillKernel(void* data, int64_t count, float deviation, uint64_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const uint32_t bits = Mix((static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ull + seed);
    const int sum = static_cast<int>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) +
                                     (bits >> 24));
    const float value = static_cast<float>(sum - 510) / 147.8f * deviation;
    if constexpr (kBf16) {
      static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(__float_as_uint(value) >> 16);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
}

// Each block reads chunks of kReadChunk bytes; the sum keeps the loads alive.
static __global__ void __launch_bounds__(kReadThreads) ReadKernel(const uint4* data,
                                                                  int64_t num_chunks,
                                                                  uint32_t* sink) {
  uint32_t sum = 0;
  for (int64_t chunk = blockIdx.x; chunk < num_chunks; chunk += gridDim.x) {
    uint4 loaded[kReadLoads];
#pragma unroll
    for (int i = 0; i < kReadLoads; ++i) {
      loaded[i] = __ldcs(data + (chunk * kReadLoads + i) * kReadThreads + threadIdx.x);
    }
#pragma unroll
    for (int i = 0; i < kReadLoads; ++i) {
      sum ^= loaded[i].x ^ loaded[i].y ^ loaded[i].z ^ loaded[i].w;
    }
  }
  if (sum == 0x5eedf00du) *sink = sum;
}

}  // namespace longhand::bench
