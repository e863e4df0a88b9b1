// Sixteen floats in AVX-512. simd_avx2.h has the same members with the same results, bit for bit;
// kernels are templates over the two. Only files compiled with the flags may include this, and they
// use nothing of std that has code: the linker could give the rest of the program their copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/always_inline.h"

namespace longhand::kernels::cpu {

struct Avx512 {
  using F = __m512;
  // Register blocking of matrix products: rows x vectors of accumulators, 24 of 32 registers.
  static constexpr int kRows = 12;
  static constexpr int kVectors = 2;

  static LONGHAND_INLINE __mmask16 First(int n) { return static_cast<__mmask16>((1u << n) - 1); }

  static LONGHAND_INLINE void Prefetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }
  // To L2 only: what L1 waits for is soon as many lines as it can.
  static LONGHAND_INLINE void PrefetchToL2(const char* p) { _mm_prefetch(p, _MM_HINT_T1); }

  static LONGHAND_INLINE F Zero() { return _mm512_setzero_ps(); }
  static LONGHAND_INLINE F Set(float x) { return _mm512_set1_ps(x); }
  static LONGHAND_INLINE F Load(const float* p) { return _mm512_loadu_ps(p); }
  static LONGHAND_INLINE void Store(float* p, F x) { _mm512_storeu_ps(p, x); }
  // The first n of 16, n in [0, 16]; the others are 0 and their memory is not touched.
  static LONGHAND_INLINE F Load(const float* p, int n) {
    return _mm512_maskz_loadu_ps(First(n), p);
  }
  static LONGHAND_INLINE void Store(float* p, F x, int n) { _mm512_mask_storeu_ps(p, First(n), x); }

  static LONGHAND_INLINE F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static LONGHAND_INLINE F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static LONGHAND_INLINE F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static LONGHAND_INLINE F Div(F a, F b) { return _mm512_div_ps(a, b); }
  // a * b + c and c - a * b, rounded once.
  static LONGHAND_INLINE F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static LONGHAND_INLINE F FmaNegated(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  // b where either is NaN.
  static LONGHAND_INLINE F Max(F a, F b) { return _mm512_max_ps(a, b); }
  static LONGHAND_INLINE F Min(F a, F b) { return _mm512_min_ps(a, b); }
  static LONGHAND_INLINE F Round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2^n for whole n in [-127, 127]; -127 gives 0.
  static LONGHAND_INLINE F PowerOfTwo(F n) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
  }
  // a < b ? yes : no, lane by lane.
  static LONGHAND_INLINE F SelectLess(F a, F b, F yes, F no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  }
  // The first n lanes of x, then those of other.
  static LONGHAND_INLINE F Keep(F x, int n, F other) {
    return _mm512_mask_blend_ps(First(n), other, x);
  }

  // Lanes are joined 8 apart, then 4, 2, 1.
  static LONGHAND_INLINE float ReduceAdd(F x) {
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_shuffle_ps(z, z, 1)));
  }
  static LONGHAND_INLINE float ReduceMax(F x) {
    __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_shuffle_ps(z, z, 1)));
  }

  // bf16, in order.
  static LONGHAND_INLINE F Widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
  static LONGHAND_INLINE F LoadBf16(const uint16_t* p) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static LONGHAND_INLINE F LoadBf16(const uint16_t* p, int n) {
    return Widen(_mm256_maskz_loadu_epi16(First(n), p));
  }
  // Rounded to nearest even; NaN stays NaN.
  static LONGHAND_INLINE __m256i Narrow(F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i result = _mm512_mask_blend_epi32(nan, rounded, quiet);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16));
  }
  static LONGHAND_INLINE void StoreBf16(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Narrow(x));
  }
  static LONGHAND_INLINE void StoreBf16(uint16_t* p, F x, int n) {
    _mm256_mask_storeu_epi16(p, First(n), Narrow(x));
  }

  // Signed bytes, in order.
  static LONGHAND_INLINE F LoadInt8(const int8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static LONGHAND_INLINE F LoadInt8(const int8_t* p, int n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(First(n), p)));
  }
  // Rounded to nearest even, and saturated.
  static LONGHAND_INLINE void StoreInt8(int8_t* p, F x, int n) {
    _mm_mask_storeu_epi8(p, First(n), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
  }

  // Sixteen words of four signed bytes: byte kByte of each.
  template <int kByte>
  static LONGHAND_INLINE F SignedByte(const void* p) {
    return _mm512_cvtepi32_ps(
        _mm512_srai_epi32(_mm512_slli_epi32(_mm512_loadu_si512(p), 24 - 8 * kByte), 24));
  }

  // fp8 (e4m3): its bits as those of a float, whose exponent is biased by 120 more.
  static LONGHAND_INLINE F LoadFp8(const uint8_t* p) {
    const __m512i top = _mm512_slli_epi32(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 24);
    const __m512i bits = _mm512_and_si512(_mm512_srai_epi32(top, 4),
                                          _mm512_set1_epi32(static_cast<int>(0x87f00000u)));
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p120f));
  }
  // The nearest number that fp8 has, at most 448; NaN stays NaN.
  static LONGHAND_INLINE F RoundToFp8(F x) {
    const __m512i sign =
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0x80000000u)));
    const F size = _mm512_min_ps(
        Set(448.0f), _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x), sign)));
    const __m512i bits = _mm512_castps_si512(size);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 20), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_and_si512(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7ffff)), odd),
                         _mm512_set1_epi32(static_cast<int>(0xfff00000u)));
    // Below the normal numbers: multiples of 2^-9.
    const F small = Sub(Add(size, Set(0x1p14f)), Set(0x1p14f));
    const F near = SelectLess(size, Set(0x1p-6f), small, _mm512_castsi512_ps(rounded));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(near), sign));
  }
  // Sixteen bytes' lower and upper halves, as whole numbers.
  static LONGHAND_INLINE void LoadNibbles(const uint8_t* p, F& low, F& high) {
    const __m512i bytes =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    low = _mm512_cvtepi32_ps(_mm512_and_si512(bytes, _mm512_set1_epi32(15)));
    high = _mm512_cvtepi32_ps(_mm512_srli_epi32(bytes, 4));
  }
  // The nearest bf16; not for NaN.
  static LONGHAND_INLINE F RoundToBf16(F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd),
                         _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }

  // Sixteen pairs of bf16 as 32-bit words: the lower halves, or the upper ones.
  static LONGHAND_INLINE F LowHalves(const void* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
  }
  static LONGHAND_INLINE F HighHalves(const void* p) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }

  // out[i * out_stride + j] = word i of row j, for i < num_words <= 16 and j < 16.
  static LONGHAND_INLINE void Transpose(
      const char* const* rows, int64_t byte_offset, int num_words, float* out, int64_t out_stride) {
    __m512 r[16], t[16];
    const __mmask16 mask = First(num_words);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) r[j] = _mm512_maskz_loadu_ps(mask, rows[j] + byte_offset);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      t[2 * j] = _mm512_unpacklo_ps(r[2 * j], r[2 * j + 1]);
      t[2 * j + 1] = _mm512_unpackhi_ps(r[2 * j], r[2 * j + 1]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512d a = _mm512_castps_pd(t[4 * j]), b = _mm512_castps_pd(t[4 * j + 1]);
      const __m512d c = _mm512_castps_pd(t[4 * j + 2]), d = _mm512_castps_pd(t[4 * j + 3]);
      r[4 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
      r[4 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
      r[4 * j + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
      r[4 * j + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    // r[4 j + c] holds column c + 4 l of rows 4 j .. 4 j + 3 in its 128-bit lane l.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const __m512 a = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
      const __m512 b = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
      const __m512 d = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
      const __m512 e = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
      t[c] = _mm512_shuffle_f32x4(a, d, 0x88);
      t[8 + c] = _mm512_shuffle_f32x4(a, d, 0xdd);
      t[4 + c] = _mm512_shuffle_f32x4(b, e, 0x88);
      t[12 + c] = _mm512_shuffle_f32x4(b, e, 0xdd);
    }
    // Whole ones from registers: a loop of unknown length would go through memory.
    if (num_words == 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) Store(out + i * out_stride, t[i]);
      return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (i < num_words) Store(out + i * out_stride, t[i]);
    }
  }
};

}  // namespace longhand::kernels::cpu
