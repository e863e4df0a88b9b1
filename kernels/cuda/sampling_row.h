// What sampling and log-probabilities share in device code: keys that order tokens, and the random
// number of a token.
#pragma once

#include "common/philox.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/reduce.h"

namespace longhand::kernels::LONGHAND_DEVICE {

using TokenKey = unsigned long long;  // NOLINT: the type that CUDA's atomics and shuffles take

// Larger for the likelier token: by value, then by the lower id. -0 counts as 0, NaN as -infinity.
__device__ __forceinline__ TokenKey KeyOf(float value, int64_t id) {
  if (value == 0) value = 0;
  if (isnan(value)) value = -INFINITY;
  const uint32_t bits = __float_as_uint(value);
  const uint32_t ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return TokenKey{ordered} << 32 | ~static_cast<uint32_t>(id);
}
__device__ __forceinline__ int32_t IdOf(TokenKey key) {
  return static_cast<int32_t>(~static_cast<uint32_t>(key));
}
__device__ __forceinline__ float ValueOf(TokenKey key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return __uint_as_float(ordered >> 31 != 0 ? ordered & 0x7fffffffu : ~ordered);
}

__device__ __forceinline__ TokenKey LargestKey(TokenKey key, TokenKey* scratch) {
  return ReduceBlock(key, scratch, [](TokenKey a, TokenKey b) { return a > b ? a : b; });
}

// The random number of a token: Philox4x32-10, its first word; kept from 0 as in sampling_math.h.
__device__ __forceinline__ float UniformOf(const DrawKey& draw, int64_t id) {
  uint32_t counter[4] = {draw.position, static_cast<uint32_t>(id), draw.choice, draw.attempt};
  uint32_t key[2] = {static_cast<uint32_t>(draw.seed), static_cast<uint32_t>(draw.seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, counter[0]), low0 = 0xD2511F53u * counter[0];
    const uint32_t high1 = __umulhi(0xCD9E8D57u, counter[2]), low1 = 0xCD9E8D57u * counter[2];
    counter[0] = high1 ^ counter[1] ^ key[0];
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ key[1];
    counter[3] = low0;
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return fmaxf(static_cast<float>(counter[0] >> 8) * 0x1.0p-24f, 0x1.0p-25f);
}

// Gumbel noise of sampling_math.h.
__device__ inline float GumbelOf(float u) {
  return static_cast<float>(-log(-log(static_cast<double>(u))));
}
__device__ inline float GumbelOf(const DrawKey& draw, int64_t id) {
  return GumbelOf(UniformOf(draw, id));
}

// Threads of a row's block: by the vocabulary alone, so that a row's bits do not depend on others.
inline unsigned ThreadsFor(int64_t vocab_size) {
  constexpr int64_t kMaxThreads = 1024, kTokensPerThread = 16;
  const int64_t warps = CeilDiv(CeilDiv(vocab_size, kTokensPerThread), kWarpSize);
  const int64_t threads = warps * kWarpSize;
  return static_cast<unsigned>(threads < kMaxThreads ? threads : kMaxThreads);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
