// Tensors of 16-bit elements in global memory, of which the copy engine of sm_90 brings boxes to
// shared memory: one thread starts a copy, an mbarrier counts its bytes.
#pragma once

#include "kernels/cuda/mbarrier.h"

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace longhand::kernels::LONGHAND_DEVICE {

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
using TensorMap = emulation::BoxMap;
#endif

// Innermost dimension first; its elements follow each other. Strides in bytes, multiples of 16; the
// first is not used. A box has up to 256 of each.
template <int kRank>
struct BoxShape {
  int64_t sizes[kRank];
  int64_t strides[kRank];
  int box[kRank];
  bool is_swizzled;  // the box has rows of 128 bytes, and gets the 128-byte swizzle
};

// `data` at a multiple of 16 bytes. kInternal where the driver has no such maps.
template <int kRank>
Result<TensorMap> MakeTensorMap(const void* data, const BoxShape<kRank>& shape) {
#if defined(__CUDACC__)
  static const auto encode = [] {
    constexpr unsigned kVersion = 12000;
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               kVersion, cudaEnableDefault, &found);
    return error == cudaSuccess ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)
                                : nullptr;
  }();
  if (encode == nullptr) return Internal("the driver has no cuTensorMapEncodeTiled");
  cuuint64_t sizes[kRank], strides[kRank];
  cuuint32_t box[kRank], steps[kRank];
  for (int i = 0; i < kRank; ++i) {
    sizes[i] = static_cast<cuuint64_t>(shape.sizes[i]);
    strides[i] = static_cast<cuuint64_t>(shape.strides[i]);
    box[i] = static_cast<cuuint32_t>(shape.box[i]);
    steps[i] = 1;
  }
  TensorMap map;
  const CUresult result =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, kRank, const_cast<void*>(data), sizes,
             strides + 1, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             shape.is_swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) return Internal("cuTensorMapEncodeTiled: error ", int{result});
  return map;
#else
  TensorMap map = {.data = data, .rank = kRank, .is_swizzled = shape.is_swizzled};
  for (int i = 0; i < kRank; ++i) {
    map.sizes[i] = shape.sizes[i];
    map.strides[i] = shape.strides[i];
    map.box[i] = shape.box[i];
  }
  return map;
#endif
}

// The box from these places of the dimensions on; what does not exist becomes zeros, and counts.
// The map is a kernel's argument. `to_shared`: a multiple of 128, of 1024 with the 128-byte
// swizzle.
template <int kRank>
__device__ __forceinline__ void CopyBox([[maybe_unused]] void* to_shared,
                                        [[maybe_unused]] const TensorMap& map,
                                        [[maybe_unused]] const int (&first)[kRank],
                                        [[maybe_unused]] MBarrier& barrier) {
  static_assert(kRank == 2 || kRank == 4 || kRank == 5);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if constexpr (kRank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];" ::"r"(SharedAddress(to_shared)),
        "l"(&map), "r"(first[0]), "r"(first[1]), "r"(SharedAddress(&barrier))
        : "memory");
  } else if constexpr (kRank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(SharedAddress(to_shared)),
        "l"(&map), "r"(first[0]), "r"(first[1]), "r"(first[2]), "r"(first[3]),
        "r"(SharedAddress(&barrier))
        : "memory");
  } else {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4, %5, %6}], [%7];" ::"r"(SharedAddress(to_shared)),
        "l"(&map), "r"(first[0]), "r"(first[1]), "r"(first[2]), "r"(first[3]), "r"(first[4]),
        "r"(SharedAddress(&barrier))
        : "memory");
  }
#elif !defined(__CUDACC__)
  emulation::CopyBox(to_shared, map, first, &barrier.state);
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
