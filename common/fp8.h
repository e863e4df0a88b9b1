// float8 e4m3fn: a sign, four bits of exponent, three of mantissa; no infinity. Conversion rounds
// to nearest even and saturates at 448; NaN stays NaN.
#pragma once

#include <bit>
#include <cstdint>

namespace longhand {

struct Fp8E4M3 {
  static constexpr float kMax = 448.0f;

  uint8_t bits = 0;

  Fp8E4M3() = default;
  explicit Fp8E4M3(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    bits = static_cast<uint8_t>((u >> 24 & 0x80u) | Magnitude(u & 0x7fffffffu));
  }
  explicit operator float() const {
    if ((bits & 0x7fu) == 0x7fu) return std::bit_cast<float>(0x7fc00000u);
    // The bits as those of a float, whose exponent is biased by 120 more.
    const uint32_t u = uint32_t{bits & 0x80u} << 24 | uint32_t{bits & 0x7fu} << 20;
    return std::bit_cast<float>(u) * 0x1p120f;
  }
  friend bool operator==(Fp8E4M3, Fp8E4M3) = default;

 private:
  // Of a float without its sign, by its bits. No branches, so that compilers make vectors of loops.
  static uint32_t Magnitude(uint32_t size) {
    constexpr uint32_t kLargest = std::bit_cast<uint32_t>(kMax);
    constexpr uint32_t kSmallestExponent = 121, kInfinity = 0x7f800000u;
    const uint32_t held = size < kLargest ? size : kLargest;
    const uint32_t exponent = held >> 23 > kSmallestExponent ? held >> 23 : kSmallestExponent;
    // A number whose last place is worth an eighth of 2^exponent: adding it leaves so many eighths,
    // rounded to nearest even, in the lowest bits.
    const uint32_t big = (exponent + 20) << 23;
    const float sum = std::bit_cast<float>(held) + std::bit_cast<float>(big);
    const uint32_t eighths = std::bit_cast<uint32_t>(sum) - big;
    const uint32_t is_nan = size > kInfinity ? 0x7fu : 0u;
    return (((exponent - kSmallestExponent) << 3) + eighths) | is_nan;
  }
};
static_assert(sizeof(Fp8E4M3) == 1);

}  // namespace longhand
