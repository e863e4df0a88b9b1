// Functions on sixteen floats, the same bits in every instruction set.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"

namespace longhand::kernels::cpu {

// x = n log 2 + r, |r| <= log(2) / 2, with log 2 in two parts; then Taylor's series of e^r.
template <typename S>
LONGHAND_INLINE typename S::F ExpOfRest(typename S::F x, typename S::F n) {
  using F = typename S::F;
  F r = S::FmaNegated(n, S::Set(0.693359375f), x);
  r = S::FmaNegated(n, S::Set(-2.12194440e-4f), r);
  F p = S::Set(1.0f / 5040);
  p = S::Fma(p, r, S::Set(1.0f / 720));
  p = S::Fma(p, r, S::Set(1.0f / 120));
  p = S::Fma(p, r, S::Set(1.0f / 24));
  p = S::Fma(p, r, S::Set(1.0f / 6));
  p = S::Fma(p, r, S::Set(0.5f));
  p = S::Fma(p, r, S::Set(1.0f));
  return S::Fma(p, r, S::Set(1.0f));
}

inline constexpr float kLeastExponent = -86.6f;
inline constexpr float kLog2E = 1.44269504f;

// e^x within 2 ulp; 0 below -86.6, infinity above 88.72; NaN stays NaN.
template <typename S>
LONGHAND_INLINE typename S::F Exp(typename S::F x) {
  using F = typename S::F;
  const F low = S::Set(kLeastExponent), high = S::Set(88.72283f);
  // The second operand of Max and Min passes NaN on.
  const F clamped = S::Max(low, S::Min(high, x));
  const F n = S::Round(S::Mul(clamped, S::Set(kLog2E)));
  const F p = ExpOfRest<S>(clamped, n);
  // n reaches 128, one more than a float's exponent holds.
  const F half = S::PowerOfTwo(S::Sub(n, S::Set(1.0f)));
  F result = S::Mul(S::Add(p, p), half);
  result = S::SelectLess(x, low, S::Zero(), result);
  return S::SelectLess(high, x, S::Set(__builtin_inff()), result);
}

// The same of x <= 0 in fewer steps: 2.5e-38 below -86.6.
template <typename S>
LONGHAND_INLINE typename S::F ExpOfNegative(typename S::F x) {
  using F = typename S::F;
  const F clamped = S::Max(S::Set(kLeastExponent), x);
  const F n = S::Round(S::Mul(clamped, S::Set(kLog2E)));
  return S::Mul(ExpOfRest<S>(clamped, n), S::PowerOfTwo(n));
}

}  // namespace longhand::kernels::cpu
