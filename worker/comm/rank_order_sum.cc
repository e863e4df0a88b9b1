#include "worker/comm/rank_order_sum.h"

#include <algorithm>
#include <bit>

namespace longhand::comm {
namespace {

// Elements summed at a time: the f32 partial sums stay in the first-level cache.
constexpr int64_t kBlock = 1024;

// The loops are compiled once more for AVX2. The order of additions is fixed per element and no
// product is involved, so the width of a vector does not change any bit.
template <typename T>
[[gnu::always_inline]] inline float Widen(T value) {
  return static_cast<float>(value);
}

[[gnu::always_inline]] inline void Store(float value, float* out) { *out = value; }

// As Bf16(float), without a branch so that the loop becomes vector code.
[[gnu::always_inline]] inline void Store(float value, Bf16* out) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t quiet = (u >> 16) | 0x40u;
  out->bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

template <typename T>
[[gnu::always_inline]] inline void SumBlocks(std::span<const void* const> operands,
                                             int64_t count,
                                             T* out) {
  float sum[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const T* first = static_cast<const T*>(operands[0]) + begin;
    for (int64_t i = 0; i < n; ++i) sum[i] = Widen(first[i]);
    for (size_t r = 1; r < operands.size(); ++r) {
      const T* next = static_cast<const T*>(operands[r]) + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] += Widen(next[i]);
    }
    for (int64_t i = 0; i < n; ++i) Store(sum[i], out + begin + i);
  }
}

template <typename T>
void SumBaseline(std::span<const void* const> operands, int64_t count, T* out) {
  SumBlocks(operands, count, out);
}

#if defined(__x86_64__)
template <typename T>
[[gnu::target("avx2")]] void SumAvx2(std::span<const void* const> operands, int64_t count, T* out) {
  SumBlocks(operands, count, out);
}
#endif

template <typename T>
void Sum(std::span<const void* const> operands, int64_t count, T* out) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return SumAvx2(operands, count, out);
#endif
  SumBaseline(operands, count, out);
}

}  // namespace

void SumInRankOrder(std::span<const void* const> operands, DType dtype, int64_t count, void* out) {
  LONGHAND_CHECK(!operands.empty());
  switch (dtype) {
    case DType::kF32:
      return Sum(operands, count, static_cast<float*>(out));
    case DType::kBf16:
      return Sum(operands, count, static_cast<Bf16*>(out));
    default:
      LONGHAND_CHECK(false) << "no sum over ranks for " << DTypeName(dtype);
  }
}

}  // namespace longhand::comm
