// How near computed values have to be to recorded ones.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace longhand::parity {

// Limits, all inclusive.
struct Tolerance {
  double relative_l2;      // |a - b| / |a|
  double cosine_distance;  // 1 - cos(a, b)
  double kl_divergence;    // of the distributions of logits, mean over rows
  double clear_margin;     // rows whose best logits are this far apart have to agree on the best
};

// fp32: the order of sums differs, nothing else; transformers' own attention variants stay within
// it, and each mistake that was tried on purpose (epsilon, tanh GELU, a missing bias, M-RoPE
// sections, height and width swapped, full attention everywhere) exceeds it.
inline constexpr Tolerance kFp32 = {1e-4, 1e-7, 1e-6, 1e-2};
// bf16: transformers' own distance from its fp32 run is 2e-2 to 5e-2.
inline constexpr Tolerance kBf16 = {8e-2, 4e-3, 3e-2, 1.0};

// Success when `actual` is within the tolerance of `expected`; the failure says by how much not.
testing::AssertionResult IsNear(std::span<const float> expected,
                                std::span<const float> actual,
                                const Tolerance& tolerance);
// The same for rows of logits [n, vocab_size], with their distributions and best tokens.
testing::AssertionResult LogitsAreNear(std::span<const float> expected,
                                       std::span<const float> actual,
                                       int64_t vocab_size,
                                       const Tolerance& tolerance);

}  // namespace longhand::parity
