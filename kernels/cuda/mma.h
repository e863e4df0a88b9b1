// Instructions that CUDA C++ has no function for: ldmatrix, mma.sync, cp.async of sm_80; stmatrix
// of sm_90 and wgmma of sm_90a, which do nothing in code for other devices.
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

// kCount matrices to shared memory, 2 or 4, from where LoadMatrixX4<true> would load them.
template <int kCount>
__device__ __forceinline__ void StoreMatrixTransposed(
    [[maybe_unused]] void* row, [[maybe_unused]] const uint32_t (&values)[kCount]) {
  static_assert(kCount == 2 || kCount == 4);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if constexpr (kCount == 2) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(SharedAddress(row)),
        "r"(values[0]), "r"(values[1])
        : "memory");
  } else {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(
                     SharedAddress(row)),
                 "r"(values[0]), "r"(values[1]), "r"(values[2]), "r"(values[3])
                 : "memory");
  }
#elif !defined(__CUDACC__)
  emulation::StoreMatrixTransposed(row, values, kCount);
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

// The same of f16.
__device__ __forceinline__ void MmaF16(float (&d)[4],
                                       const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::MultiplyAccumulateF16(d, a, b);
#endif
}

// Four codes of fp8 (e4m3) as f16, exactly but for a factor of 2^-8: sign and magnitude move to
// where f16 has them, subnormal numbers too. `even` has the codes of bytes 0 and 2, `odd` of 1 and
// 3. NaN becomes 1.875.
constexpr float kTwoFp8Factors = 65536;  // what a product of two such is to be multiplied by
__device__ __forceinline__ void Fp8ToHalves(uint32_t codes, uint32_t& even, uint32_t& odd) {
  constexpr uint32_t kSigns = 0x80008000u, kMagnitudes = 0x3f803f80u;
  even = (codes << 8 & kSigns) | (codes << 7 & kMagnitudes);
  odd = (codes & kSigns) | (codes >> 1 & kMagnitudes);
}

// d += a b 2^-16 for 16 x 32 and 32 x 8 matrices of fp8, in f32; each register has four neighbours
// of k. Two products of 16 k: of the even codes of each register, then of the odd ones.
__device__ __forceinline__ void MmaFp8(float (&d)[4],
                                       const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
  uint32_t a_even[4], a_odd[4], b_even[2], b_odd[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) Fp8ToHalves(a[i], a_even[i], a_odd[i]);
#pragma unroll
  for (int i = 0; i < 2; ++i) Fp8ToHalves(b[i], b_even[i], b_odd[i]);
  MmaF16(d, a_even, b_even);
  MmaF16(d, a_odd, b_odd);
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
using SharedMatrix = emulation::SharedMatrix;
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

// `atom_stride`: bytes from an atom to that of the next eight rows.
__device__ __forceinline__ SharedMatrix MatrixInShared(const void* first_atom,
                                                       int atom_stride = 1024) {
#if defined(__CUDACC__)
  // Units of 16 bytes: address, [16] between neighbours of k (not used with this swizzle), [32]
  // between atoms; [62] 1 = 128-byte swizzle.
  constexpr uint64_t kSwizzle128 = 1;
  return uint64_t{(SharedAddress(first_atom) & 0x3ffff) >> 4} | uint64_t{1} << 16 |
         static_cast<uint64_t>(atom_stride / 16) << 32 | kSwizzle128 << 62;
#else
  return {.begin = first_atom, .atom_stride = atom_stride};
#endif
}

__device__ __forceinline__ SharedMatrix Advance(SharedMatrix matrix, int bytes) {
#if defined(__CUDACC__)
  return matrix + static_cast<uint64_t>(bytes / 16);
#else
  matrix.begin = static_cast<const char*>(matrix.begin) + bytes;
  return matrix;
#endif
}
// From k = 16 step on.
__device__ __forceinline__ SharedMatrix AtStep(SharedMatrix matrix, int step) {
  return Advance(matrix, step * 32);
}

// What this thread wrote to shared memory, or waited for, is there for wgmma behind a barrier.
__device__ __forceinline__ void FenceForWgmma() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#elif !defined(__CUDACC__)
  emulation::FenceForProducts();
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

}  // namespace longhand::kernels::LONGHAND_DEVICE
