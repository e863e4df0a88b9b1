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
    const auto sign = static_cast<uint8_t>(u >> 24 & 0x80u);
    const float size = std::bit_cast<float>(u & 0x7fffffffu);
    bits = static_cast<uint8_t>(sign | Magnitude(size));
  }
  explicit operator float() const {
    if ((bits & 0x7fu) == 0x7fu) return std::bit_cast<float>(0x7fc00000u);
    // The bits as those of a float, whose exponent is biased by 120 more.
    const uint32_t u = uint32_t{bits & 0x80u} << 24 | uint32_t{bits & 0x7fu} << 20;
    return std::bit_cast<float>(u) * 0x1p120f;
  }
  friend bool operator==(Fp8E4M3, Fp8E4M3) = default;

 private:
  static uint32_t Magnitude(float size) {
    constexpr float kSmallestNormal = 0x1p-6f;
    if (!(size < kMax)) return size >= kMax ? 0x7eu : 0x7fu;
    // Adding 2^14 leaves multiples of 2^-9, rounded to nearest even, in the lowest bits.
    if (size < kSmallestNormal) return std::bit_cast<uint32_t>(size + 0x1p14f) & 0xffu;
    const uint32_t u = std::bit_cast<uint32_t>(size);
    return ((u + 0x7ffffu + (u >> 20 & 1u)) >> 20) - (120u << 3);
  }
};
static_assert(sizeof(Fp8E4M3) == 1);

}  // namespace longhand
