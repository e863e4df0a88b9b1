// Reductions over a block. The order is fixed by the number of threads, and every thread gets the
// result.
#pragma once

#include "kernels/cuda/device.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// `combine` is associative up to rounding; `scratch` holds 32 elements of shared memory, free
// before and after. All threads of the block take part, a multiple of 32.
template <typename T, typename Combine>
__device__ T ReduceBlock(T value, T* scratch, Combine combine) {
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int num_warps = blockDim.x / kWarpSize;
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = scratch[0];
  for (int i = 1; i < num_warps; ++i) value = combine(value, scratch[i]);
  __syncthreads();
  return value;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
