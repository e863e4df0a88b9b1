// The instructions of sm_80 that CUDA C++ has no function for: ldmatrix, mma.sync, cp.async.
#pragma once

#include "kernels/cuda/device.h"

#if !defined(__CUDACC__)
#include "kernels/emulation/matrix.h"
#endif

namespace longhand::kernels::LONGHAND_DEVICE {

#if defined(__CUDACC__)

__device__ __forceinline__ unsigned SharedAddress(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

#endif

// Four 8 x 8 matrices of 16-bit elements; lanes 8 i .. 8 i + 7 name the rows of matrix i in shared
// memory. Lane l receives elements 2 (l % 4) and the next of row l / 4; transposed, of column l
// / 4.
template <bool kTransposed>
__device__ __forceinline__ void LoadMatrixX4(uint32_t (&out)[4], const void* row) {
#if defined(__CUDACC__)
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(SharedAddress(row))
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(SharedAddress(row))
                 : "memory");
  }
#else
  emulation::LoadMatrixX4(out, row, kTransposed);
#endif
}

// d += a b for 16 x 16 and 16 x 8 matrices of bf16, in f32.
__device__ __forceinline__ void MmaBf16(float (&d)[4],
                                        const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::MultiplyAccumulate(d, a, b);
#endif
}

// 2^x within two units in the last place; 0 where it would be less than a normal number.
__device__ __forceinline__ float Exp2(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
#endif
}

// Starts copying 16 bytes from global to shared memory; `bytes` of them are read, 16 or 0, and the
// rest is zeros. Both addresses are multiples of 16.
__device__ __forceinline__ void CopyAsync16(void* to_shared, const void* from, int bytes = 16) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(SharedAddress(to_shared)), "l"(from), "r"(bytes)
               : "memory");
#else
  emulation::AsyncCopy(to_shared, from, bytes);
#endif
}

// Closes a group of copies.
__device__ __forceinline__ void CommitCopies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulation::CommitCopies();
#endif
}

// Waits until at most kInFlight of this thread's groups are not yet there.
template <int kInFlight>
__device__ __forceinline__ void WaitForCopies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kInFlight) : "memory");
#else
  emulation::WaitForCopies(kInFlight);
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
