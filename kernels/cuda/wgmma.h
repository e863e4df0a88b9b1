// wgmma of sm_90a: 64 rows by 8 to 192 and 16 k, of 16-bit elements. Code for other devices does
// nothing. The order around them is mma.h's: BeginWgmma, products, CommitWgmma, WaitForWgmma,
// PinSums.
#pragma once

#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// A lane's sums of so many tiles of eight rows of b: the first operands, and their names.
#define LONGHAND_NAMES_1 "%0, %1, %2, %3"
#define LONGHAND_NAMES_2 LONGHAND_NAMES_1 ", %4, %5, %6, %7"
#define LONGHAND_NAMES_4 LONGHAND_NAMES_2 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define LONGHAND_NAMES_8 \
  LONGHAND_NAMES_4       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LONGHAND_NAMES_11 \
  LONGHAND_NAMES_8 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43"
#define LONGHAND_NAMES_16                                                                   \
  LONGHAND_NAMES_11                                                                         \
  ", %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, " \
  "%61, %62, %63"
#define LONGHAND_NAMES_24                                                                   \
  LONGHAND_NAMES_16                                                                         \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, " \
  "%81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define LONGHAND_SUM(t) "+f"(d[t][0]), "+f"(d[t][1]), "+f"(d[t][2]), "+f"(d[t][3])
#define LONGHAND_SUMS_AT(t) \
  LONGHAND_SUM(t), LONGHAND_SUM(t + 1), LONGHAND_SUM(t + 2), LONGHAND_SUM(t + 3)
#define LONGHAND_SUMS_1 LONGHAND_SUM(0)
#define LONGHAND_SUMS_2 LONGHAND_SUM(0), LONGHAND_SUM(1)
#define LONGHAND_SUMS_4 LONGHAND_SUMS_AT(0)
#define LONGHAND_SUMS_8 LONGHAND_SUMS_4, LONGHAND_SUMS_AT(4)
#define LONGHAND_SUMS_11 LONGHAND_SUMS_8, LONGHAND_SUM(8), LONGHAND_SUM(9), LONGHAND_SUM(10)
#define LONGHAND_SUMS_16 LONGHAND_SUMS_8, LONGHAND_SUMS_AT(8), LONGHAND_SUMS_AT(12)
#define LONGHAND_SUMS_24 LONGHAND_SUMS_16, LONGHAND_SUMS_AT(16), LONGHAND_SUMS_AT(20)
// `a` in shared memory: operands a, b, and whether to accumulate, follow the sums. transposed: "1"
// where a's rows are k, else "0".
#define LONGHAND_WGMMA_SHARED(rows, transposed, names, a_name, b_name, p_name, ...)    \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " p_name                              \
               ", 0;\n"                                                                \
               "wgmma.mma_async.sync.aligned.m64n" rows                                \
               "k16.f32.bf16.bf16 "                                                    \
               "{" names "}, " a_name ", " b_name ", p, 1, 1, " transposed ", 0;\n}\n" \
               : __VA_ARGS__                                                           \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))
// In registers: four of `a`, then as above. transposed: "1" where b's rows are k, else "0".
#define LONGHAND_WGMMA_REGISTERS(type, rows, transposed, names, a_names, b_name, p_name, ...) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " p_name                                     \
               ", 0;\n"                                                                       \
               "wgmma.mma_async.sync.aligned.m64n" rows "k16.f32." type "." type              \
               " "                                                                            \
               "{" names "}, {" a_names "}, " b_name ", p, 1, 1, " transposed ";\n}\n"        \
               : __VA_ARGS__                                                                  \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                          \
                 "r"(static_cast<int>(accumulate)))
#endif

// d = a b, or d += a b, for a of 64 rows and b of 8 kTiles rows and 16 k of bf16, in f32. Warp w of
// the warpgroup gets rows 16 w .. 16 w + 15 of a, eight of b's rows after the other, each as
// MmaBf16 leaves them.
template <int kTiles>
__device__ __forceinline__ void MultiplyShared([[maybe_unused]] float (&d)[kTiles][4],
                                               [[maybe_unused]] SharedMatrix a,
                                               [[maybe_unused]] SharedMatrix b,
                                               [[maybe_unused]] bool accumulate) {
  static_assert(kTiles == 1 || kTiles == 2 || kTiles == 4 || kTiles == 8 || kTiles == 16 ||
                kTiles == 24);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (kTiles == 1) {
    LONGHAND_WGMMA_SHARED("8", "0", LONGHAND_NAMES_1, "%4", "%5", "%6", LONGHAND_SUMS_1);
  } else if constexpr (kTiles == 2) {
    LONGHAND_WGMMA_SHARED("16", "0", LONGHAND_NAMES_2, "%8", "%9", "%10", LONGHAND_SUMS_2);
  } else if constexpr (kTiles == 4) {
    LONGHAND_WGMMA_SHARED("32", "0", LONGHAND_NAMES_4, "%16", "%17", "%18", LONGHAND_SUMS_4);
  } else if constexpr (kTiles == 8) {
    LONGHAND_WGMMA_SHARED("64", "0", LONGHAND_NAMES_8, "%32", "%33", "%34", LONGHAND_SUMS_8);
  } else if constexpr (kTiles == 16) {
    LONGHAND_WGMMA_SHARED("128", "0", LONGHAND_NAMES_16, "%64", "%65", "%66", LONGHAND_SUMS_16);
  } else {
    LONGHAND_WGMMA_SHARED("192", "0", LONGHAND_NAMES_24, "%96", "%97", "%98", LONGHAND_SUMS_24);
  }
#elif !defined(__CUDACC__)
  emulation::BeginProduct({.d = d,
                           .a = nullptr,
                           .shared_a = a,
                           .b = b,
                           .columns = 8 * kTiles,
                           .accumulate = accumulate});
#endif
}

// The same with each warp's 16 rows of `a` in its registers, as MmaBf16 takes them: they stay as
// they are until the product was waited for. What `a` is made of is loaded behind the wait for the
// product that had these registers: the compiler drops a copy, and loads into them at once.
// kF16: of f16, not bf16.
template <bool kF16, int kTiles>
__device__ __forceinline__ void MultiplyRegisters([[maybe_unused]] float (&d)[kTiles][4],
                                                  [[maybe_unused]] const uint32_t (&a)[4],
                                                  [[maybe_unused]] SharedMatrix b,
                                                  [[maybe_unused]] bool accumulate) {
  static_assert(kTiles == 4 || kTiles == 8 || kTiles == 16 || kTiles == 24 ||
                (!kF16 && (kTiles == 1 || kTiles == 2)));
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (kTiles == 1) {
    LONGHAND_WGMMA_REGISTERS("bf16", "8", "0", LONGHAND_NAMES_1, "%4, %5, %6, %7", "%8", "%9",
                             LONGHAND_SUMS_1);
  } else if constexpr (kTiles == 2) {
    LONGHAND_WGMMA_REGISTERS("bf16", "16", "0", LONGHAND_NAMES_2, "%8, %9, %10, %11", "%12", "%13",
                             LONGHAND_SUMS_2);
  } else if constexpr (kTiles == 4 && kF16) {
    LONGHAND_WGMMA_REGISTERS("f16", "32", "0", LONGHAND_NAMES_4, "%16, %17, %18, %19", "%20", "%21",
                             LONGHAND_SUMS_4);
  } else if constexpr (kTiles == 4 && !kF16) {
    LONGHAND_WGMMA_REGISTERS("bf16", "32", "0", LONGHAND_NAMES_4, "%16, %17, %18, %19", "%20",
                             "%21", LONGHAND_SUMS_4);
  } else if constexpr (kTiles == 8 && kF16) {
    LONGHAND_WGMMA_REGISTERS("f16", "64", "0", LONGHAND_NAMES_8, "%32, %33, %34, %35", "%36", "%37",
                             LONGHAND_SUMS_8);
  } else if constexpr (kTiles == 8 && !kF16) {
    LONGHAND_WGMMA_REGISTERS("bf16", "64", "0", LONGHAND_NAMES_8, "%32, %33, %34, %35", "%36",
                             "%37", LONGHAND_SUMS_8);
  } else if constexpr (kTiles == 16 && kF16) {
    LONGHAND_WGMMA_REGISTERS("f16", "128", "0", LONGHAND_NAMES_16, "%64, %65, %66, %67", "%68",
                             "%69", LONGHAND_SUMS_16);
  } else if constexpr (kTiles == 16) {
    LONGHAND_WGMMA_REGISTERS("bf16", "128", "0", LONGHAND_NAMES_16, "%64, %65, %66, %67", "%68",
                             "%69", LONGHAND_SUMS_16);
  } else if constexpr (kF16) {
    LONGHAND_WGMMA_REGISTERS("f16", "192", "0", LONGHAND_NAMES_24, "%96, %97, %98, %99", "%100",
                             "%101", LONGHAND_SUMS_24);
  } else {
    LONGHAND_WGMMA_REGISTERS("bf16", "192", "0", LONGHAND_NAMES_24, "%96, %97, %98, %99", "%100",
                             "%101", LONGHAND_SUMS_24);
  }
#elif !defined(__CUDACC__)
  emulation::BeginProduct(
      {.d = d, .a = a, .b = b, .columns = 8 * kTiles, .accumulate = accumulate, .is_f16 = kF16});
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
