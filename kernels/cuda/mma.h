// Instructions that CUDA C++ has no function for: ldmatrix, mma.sync, cp.async of sm_80; mma.sync
// of fp8, of sm_89, and wgmma of sm_90a, which do nothing in code for other devices.
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
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::MultiplyAccumulate(d, a, b);
#endif
}

// d += a b for 16 x 32 and 32 x 8 matrices of fp8 (e4m3), in f32. Each register has four neighbours
// of k. sm_90 has no such instruction of its own: ptxas makes f16 of the operands, exactly, and two
// products of 16 k, each as of f16.
__device__ __forceinline__ void MmaFp8(float (&d)[4],
                                       const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(__CUDACC__)
  emulation::MultiplyAccumulateFp8(d, a, b);
#else
  (void)d, (void)a, (void)b;
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
  emulation::AsyncCopy(to_shared, from, bytes, 16);
#endif
}

// The same of 4 bytes, or none.
__device__ __forceinline__ void CopyAsync4(void* to_shared, const void* from, int bytes) {
#if defined(__CUDACC__)
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :
               : "r"(SharedAddress(to_shared)), "l"(from), "r"(bytes)
               : "memory");
#else
  emulation::AsyncCopy(to_shared, from, bytes, 4);
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

// wgmma, of sm_90a: a warpgroup of four warps multiplies matrices that lie in shared memory, in
// atoms of eight rows of 64 bf16 whose 16-byte chunk c lies at place c ^ row; atoms follow each
// other from a multiple of 1024 bytes on.
#if defined(__CUDACC__)
using SharedMatrix = uint64_t;
#else
using SharedMatrix = const void*;
#endif

// From the next multiple of kAlignment on, a power of two.
template <size_t kAlignment, typename T>
__device__ __forceinline__ T* AlignShared(T* p) {
#if defined(__CUDACC__)
  const unsigned past = SharedAddress(p) % kAlignment;
#else
  const size_t past = reinterpret_cast<uintptr_t>(p) % kAlignment;
#endif
  return past == 0 ? p
                   : reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(p) + kAlignment - past);
}

__device__ __forceinline__ SharedMatrix MatrixInShared(const void* first_atom) {
#if defined(__CUDACC__)
  // Units of 16 bytes: address, [16] between neighbours of k (not used with this swizzle), [32]
  // between atoms; [62] 1 = 128-byte swizzle.
  constexpr uint64_t kAtomStride = 1024 / 16, kSwizzle128 = 1;
  return uint64_t{(SharedAddress(first_atom) & 0x3ffff) >> 4} | uint64_t{1} << 16 |
         kAtomStride << 32 | kSwizzle128 << 62;
#else
  return first_atom;
#endif
}

// From k = 16 step on.
__device__ __forceinline__ SharedMatrix AtStep(SharedMatrix matrix, int step) {
  constexpr int kStepBytes = 32;
#if defined(__CUDACC__)
  return matrix + static_cast<uint64_t>(step * kStepBytes / 16);
#else
  return static_cast<const char*>(matrix) + step * kStepBytes;
#endif
}

// What this thread wrote to shared memory, or waited for, is there for wgmma behind a barrier.
__device__ __forceinline__ void FenceForWgmma() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Keeps the compiler from moving sums across.
template <int kTiles>
__device__ __forceinline__ void PinSums([[maybe_unused]] float (&d)[kTiles][4]) {
#if defined(__CUDACC__)
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(d[t][i])::"memory");
  }
#endif
}

// Before the first wgmma after other uses of its sums.
template <int kTiles>
__device__ __forceinline__ void BeginWgmma([[maybe_unused]] float (&d)[kTiles][4]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  PinSums(d);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Closes a group of wgmmas.
__device__ __forceinline__ void CommitWgmma() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#elif !defined(__CUDACC__)
  emulation::CommitProducts();
#endif
}

// Waits until at most kInFlight groups are not done. With none, sums may be used behind PinSums.
template <int kInFlight>
__device__ __forceinline__ void WaitForWgmma() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kInFlight) : "memory");
#elif !defined(__CUDACC__)
  emulation::WaitForProducts(kInFlight);
#endif
}

// d = a b, or d += a b, for a of 64 rows and b of 128 and 16 k, in f32. Warp w of the warpgroup
// gets rows 16 w .. 16 w + 15, eight of b's rows after the other, each as MmaBf16 leaves them.
__device__ __forceinline__ void WgmmaBf16(float (&d)[16][4],
                                          SharedMatrix a,
                                          SharedMatrix b,
                                          bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, 0, 0;\n"
      "}\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]),
        "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),
        "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]),
        "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]),
        "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
        "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3]),
        "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]),
        "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]),
        "+f"(d[10][0]), "+f"(d[10][1]), "+f"(d[10][2]), "+f"(d[10][3]),
        "+f"(d[11][0]), "+f"(d[11][1]), "+f"(d[11][2]), "+f"(d[11][3]),
        "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]), "+f"(d[12][3]),
        "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]),
        "+f"(d[14][0]), "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]),
        "+f"(d[15][0]), "+f"(d[15][1]), "+f"(d[15][2]), "+f"(d[15][3])
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
#elif !defined(__CUDACC__)
  emulation::MultiplyShared(d, a, b, accumulate);
#else
  (void)d, (void)a, (void)b, (void)accumulate;
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
