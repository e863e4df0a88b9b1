// wgmma as attention uses it: of 64 rows, with tiles of 64 keys and their values in shared memory.
//
// Keys, values and queries lie alike: each 64 elements of the head in atoms of eight rows, as mma.h
// says, for all 64 rows; then the next 64 elements. Of keys the elements are the products' k, of
// values the rows are.
#pragma once

#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// 64 rows of 64 elements.
constexpr int kKeyAtomBytes = 64 * 128;

// Where the 16-byte chunk of a row lies in a tile.
__device__ __forceinline__ int PlaceInAtoms(int row, int chunk) {
  return chunk / 8 * kKeyAtomBytes + row * 128 + (chunk % 8 ^ row % 8) * 16;
}

__device__ __forceinline__ SharedMatrix Advance(SharedMatrix matrix, int bytes) {
#if defined(__CUDACC__)
  return matrix + static_cast<uint64_t>(bytes / 16);
#else
  return static_cast<const char*>(matrix) + bytes;
#endif
}

// Of rows that are k: from the first element on.
__device__ __forceinline__ SharedMatrix TransposedInShared(const void* first_atom) {
#if defined(__CUDACC__)
  // [16] between 64 elements and the next, in place of what MatrixInShared says.
  constexpr uint64_t kStride = kKeyAtomBytes / 16 - 1;
  return MatrixInShared(first_atom) + (kStride << 16);
#else
  return first_atom;
#endif
}

// From the 16 elements `step` of the rows on.
__device__ __forceinline__ SharedMatrix AtElements(SharedMatrix matrix, int step) {
  return Advance(matrix, step / 4 * kKeyAtomBytes + step % 4 * 32);
}
// From the 16 rows `step` on.
__device__ __forceinline__ SharedMatrix AtRows(SharedMatrix matrix, int step) {
  return Advance(matrix, step * 16 * 128);
}

// Keeps the compiler from moving what makes A operands across.
template <int kSteps>
__device__ __forceinline__ void PinOperands([[maybe_unused]] uint32_t (&a)[kSteps][4]) {
#if defined(__CUDACC__)
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(a[step][i])::"memory");
  }
#endif
}

// d = a b, or d += a b, for a warp's 16 rows of a in registers, as MmaBf16 has them, and 8 kTiles
// columns: b's rows, or elements of b's 16 rows.
template <int kTiles>
__device__ void WgmmaRows(float (&d)[kTiles][4], const uint32_t (&a)[4], SharedMatrix b, bool accumulate);
template <int kTiles>
__device__ void WgmmaTransposed(float (&d)[kTiles][4], const uint32_t (&a)[4], SharedMatrix b, bool accumulate);

// clang-format off

template <>
__device__ __forceinline__ void WgmmaRows<8>(float (&d)[8][4],
    const uint32_t (&a)[4], SharedMatrix b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n"
      "}\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]),
        "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),
        "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]),
        "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]),
        "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
        "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
#elif !defined(__CUDACC__)
  emulation::BeginProduct(d, a, nullptr, b, 64, 0, accumulate);
#else
  (void)d, (void)a, (void)b, (void)accumulate;
#endif
}

__device__ __forceinline__ void WgmmaShared(float (&d)[8][4], SharedMatrix a, SharedMatrix b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0;\n"
      "}\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]),
        "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),
        "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]),
        "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]),
        "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
        "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
#elif !defined(__CUDACC__)
  emulation::BeginProduct(d, nullptr, a, b, 64, 0, accumulate);
#else
  (void)d, (void)a, (void)b, (void)accumulate;
#endif
}

template <>
__device__ __forceinline__ void WgmmaTransposed<11>(float (&d)[11][4],
    const uint32_t (&a)[4], SharedMatrix b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %49, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n88k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43"
      "}, {%44, %45, %46, %47}, %48, p, 1, 1, 1;\n"
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
        "+f"(d[10][0]), "+f"(d[10][1]), "+f"(d[10][2]), "+f"(d[10][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
#elif !defined(__CUDACC__)
  emulation::BeginProduct(d, a, nullptr, b, 88, kKeyAtomBytes, accumulate);
#else
  (void)d, (void)a, (void)b, (void)accumulate;
#endif
}

template <>
__device__ __forceinline__ void WgmmaTransposed<16>(float (&d)[16][4],
    const uint32_t (&a)[4], SharedMatrix b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n"
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
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
#elif !defined(__CUDACC__)
  emulation::BeginProduct(d, a, nullptr, b, 128, kKeyAtomBytes, accumulate);
#else
  (void)d, (void)a, (void)b, (void)accumulate;
#endif
}

// clang-format on

}  // namespace longhand::kernels::LONGHAND_DEVICE
