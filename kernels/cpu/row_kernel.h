// Operations on one row of floats, for an instruction set S: vectors of 16, the last one masked.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/simd_math.h"

namespace longhand::kernels::cpu {

// Calls body(i, n) for elements i .. i + n - 1, n = 16 but for the tail.
template <typename Body>
LONGHAND_INLINE void ForVectors(int64_t count, Body&& body) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) body(i, 16);
  if (i < count) body(i, static_cast<int>(count - i));
}

template <typename S>
LONGHAND_INLINE typename S::F LoadUpTo(const float* p, int n) {
  return n == 16 ? S::Load(p) : S::Load(p, n);
}
template <typename S>
LONGHAND_INLINE void StoreUpTo(float* p, typename S::F x, int n) {
  if (n == 16) return S::Store(p, x);
  S::Store(p, x, n);
}
template <typename S>
LONGHAND_INLINE void StoreUpTo(uint16_t* p, typename S::F x, int n) {
  if (n == 16) return S::StoreBf16(p, x);
  S::StoreBf16(p, x, n);
}

template <typename S>
void Widen(const uint16_t* x, int64_t count, float* out) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    StoreUpTo<S>(out + i, n == 16 ? S::LoadBf16(x + i) : S::LoadBf16(x + i, n), n);
  });
}

template <typename S, typename Out>
void AddRows(const float* x, const float* y, int64_t count, Out* out) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    typename S::F sum = LoadUpTo<S>(x + i, n);
    if (y != nullptr) sum = S::Add(sum, LoadUpTo<S>(y + i, n));
    StoreUpTo<S>(out + i, sum, n);
  });
}

// The sum of squares has four parts by the number of the vector, joined in a fixed order.
template <typename S>
void RmsNorm(const float* x, const float* weight, float eps, int64_t count, float* out) {
  typename S::F parts[4] = {S::Zero(), S::Zero(), S::Zero(), S::Zero()};
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F value = LoadUpTo<S>(x + i, n);
    typename S::F& part = parts[i / 16 % 4];
    part = S::Fma(value, value, part);
  });
  const float sum = S::ReduceAdd(S::Add(S::Add(parts[0], parts[1]), S::Add(parts[2], parts[3])));
  const typename S::F factor =
      S::Set(1.0f / __builtin_sqrtf(sum / static_cast<float>(count) + eps));
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F scaled = S::Mul(LoadUpTo<S>(x + i, n), factor);
    StoreUpTo<S>(out + i, S::Mul(scaled, LoadUpTo<S>(weight + i, n)), n);
  });
}

template <typename S>
void SwiGlu(const float* gate, const float* up, int64_t count, float* out) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F g = LoadUpTo<S>(gate + i, n);
    const typename S::F denominator = S::Add(S::Set(1.0f), Exp<S>(S::Sub(S::Zero(), g)));
    StoreUpTo<S>(out + i, S::Mul(S::Div(g, denominator), LoadUpTo<S>(up + i, n)), n);
  });
}

// gelu(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, which keeps its relative precision on the
// negative side too. erfc(z) = e^(-z^2) t P(t) with t = 1 / (1 + z / 2): a minimax fit of degree 8
// on [0, 10.5], relative error 2e-7.
template <typename S>
LONGHAND_INLINE typename S::F Gelu(typename S::F x) {
  using F = typename S::F;
  const F size = S::Max(x, S::Sub(S::Zero(), x));
  const F z = S::Mul(size, S::Set(0.70710678f));
  const F t = S::Div(S::Set(1.0f), S::Fma(z, S::Set(0.5f), S::Set(1.0f)));
  F p = S::Set(-0.0591935031f);
  p = S::Fma(p, t, S::Set(0.285183668f));
  p = S::Fma(p, t, S::Set(-0.488462597f));
  p = S::Fma(p, t, S::Set(0.279514521f));
  p = S::Fma(p, t, S::Set(-0.0276247337f));
  p = S::Fma(p, t, S::Set(0.203110456f));
  p = S::Fma(p, t, S::Set(0.242996484f));
  p = S::Fma(p, t, S::Set(0.282390088f));
  p = S::Fma(p, t, S::Set(0.282085568f));
  const F erfc = S::Mul(S::Mul(t, p), Exp<S>(S::FmaNegated(z, z, S::Zero())));
  return S::FmaNegated(S::Mul(size, S::Set(0.5f)), erfc, S::Max(S::Zero(), x));
}

template <typename S>
void GeluRow(int64_t count, float* x) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    StoreUpTo<S>(x + i, Gelu<S>(LoadUpTo<S>(x + i, n)), n);
  });
}

template <typename S>
LONGHAND_INLINE typename S::F LoadUpTo(const uint16_t* p, int n) {
  return n == 16 ? S::LoadBf16(p) : S::LoadBf16(p, n);
}

// In four parts, as RmsNorm's sum.
template <typename S, typename W>
float Dot(const float* x, const W* a, int64_t count) {
  typename S::F parts[4] = {S::Zero(), S::Zero(), S::Zero(), S::Zero()};
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    typename S::F& part = parts[i / 16 % 4];
    part = S::Fma(LoadUpTo<S>(x + i, n), LoadUpTo<S>(a + i, n), part);
  });
  return S::ReduceAdd(S::Add(S::Add(parts[0], parts[1]), S::Add(parts[2], parts[3])));
}

// Each column's sum is one chain over the rank.
template <typename S, typename W>
void AddDelta(const float* mid,
              int64_t rank,
              const W* b,
              int64_t stride,
              float scale,
              int64_t count,
              float* y) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    typename S::F sum = S::Zero();
    for (int64_t r = 0; r < rank; ++r) {
      sum = S::Fma(S::Set(mid[r]), LoadUpTo<S>(b + r * stride + i, n), sum);
    }
    StoreUpTo<S>(y + i, S::Fma(S::Set(scale), sum, LoadUpTo<S>(y + i, n)), n);
  });
}

template <typename S, typename Out>
void Rotate(
    const float* x, const float* bias, const float* cos, const float* sin, int64_t half, Out* out) {
  ForVectors(half, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    typename S::F low = LoadUpTo<S>(x + i, n), high = LoadUpTo<S>(x + half + i, n);
    if (bias != nullptr) {
      low = S::Add(low, LoadUpTo<S>(bias + i, n));
      high = S::Add(high, LoadUpTo<S>(bias + half + i, n));
    }
    const typename S::F c = LoadUpTo<S>(cos + i, n), s = LoadUpTo<S>(sin + i, n);
    StoreUpTo<S>(out + i, S::FmaNegated(high, s, S::Mul(low, c)), n);
    StoreUpTo<S>(out + half + i, S::Fma(low, s, S::Mul(high, c)), n);
  });
}

template <typename S>
float Largest(const float* x, int64_t count) {
  typename S::F largest = S::Zero();
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F value = LoadUpTo<S>(x + i, n);
    largest = S::Max(S::Max(value, S::Sub(S::Zero(), value)), largest);
  });
  return S::ReduceMax(largest);
}

template <typename S>
void ToInt8(const float* x, float inverse, int64_t count, int8_t* out) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    S::StoreInt8(out + i, S::Mul(LoadUpTo<S>(x + i, n), S::Set(inverse)), n);
  });
}

template <typename S>
void RoundToFp8(const float* x, float inverse, int64_t count, float* out) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    StoreUpTo<S>(out + i, S::RoundToFp8(S::Mul(LoadUpTo<S>(x + i, n), S::Set(inverse))), n);
  });
}

template <typename S>
void CopyNumbers(const float* x, int64_t count, float* out) {
  const typename S::F lowest = S::Set(-__builtin_inff());
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    StoreUpTo<S>(out + i, S::Max(LoadUpTo<S>(x + i, n), lowest), n);
  });
}

template <typename S>
float Max(const float* x, int64_t count) {
  const typename S::F lowest = S::Set(-__builtin_inff());
  typename S::F max = lowest;
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F value = LoadUpTo<S>(x + i, n);
    max = S::Max(n == 16 ? value : S::Keep(value, n, lowest), max);
  });
  return S::ReduceMax(max);
}

// Floats of a stretch, then double: a vocabulary is too long for one float sum.
template <typename S>
double SumExp(const float* x, float max, int64_t count) {
  constexpr int64_t kStretch = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kStretch) {
    const int64_t left = count - begin;
    typename S::F sum = S::Zero();
    ForVectors(left < kStretch ? left : kStretch, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
      const typename S::F e = Exp<S>(S::Sub(LoadUpTo<S>(x + begin + i, n), S::Set(max)));
      sum = S::Add(sum, n == 16 ? e : S::Keep(e, n, S::Zero()));
    });
    total += S::ReduceAdd(sum);
  }
  return total;
}

template <typename S>
void Scores(float max, float temperature, int64_t count, float* x, float* weights) {
  ForVectors(count, [&](int64_t i, int n) LONGHAND_INLINE_LAMBDA {
    const typename S::F score =
        S::Div(S::Sub(LoadUpTo<S>(x + i, n), S::Set(max)), S::Set(temperature));
    StoreUpTo<S>(x + i, score, n);
    StoreUpTo<S>(weights + i, Exp<S>(score), n);
  });
}

template <typename S>
constexpr RowKernels MakeRowKernels() {
  return {.widen = Widen<S>,
          .add = AddRows<S, float>,
          .add_to_bf16 = AddRows<S, uint16_t>,
          .rms_norm = RmsNorm<S>,
          .swiglu = SwiGlu<S>,
          .gelu = GeluRow<S>,
          .rotate = Rotate<S, float>,
          .rotate_to_bf16 = Rotate<S, uint16_t>,
          .dot = Dot<S, float>,
          .dot_bf16 = Dot<S, uint16_t>,
          .add_delta = AddDelta<S, float>,
          .add_delta_bf16 = AddDelta<S, uint16_t>,
          .largest = Largest<S>,
          .to_int8 = ToInt8<S>,
          .round_to_fp8 = RoundToFp8<S>,
          .copy_numbers = CopyNumbers<S>,
          .max = Max<S>,
          .sum_exp = SumExp<S>,
          .scores = Scores<S>};
}

}  // namespace longhand::kernels::cpu
