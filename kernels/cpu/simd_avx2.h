// Sixteen floats in two AVX2 registers; see simd_avx512.h, which explains the members.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/always_inline.h"

namespace longhand::kernels::cpu {

struct Avx2 {
  struct F {
    __m256 lo, hi;
  };
  // 6 x 16 floats: 12 of 16 registers.
  static constexpr int kRows = 6;
  static constexpr int kVectors = 1;

  // All ones in the first n of 8 words.
  static LONGHAND_INLINE __m256i First(int n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
  }

  static LONGHAND_INLINE void Prefetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }
  static LONGHAND_INLINE void PrefetchToL2(const char* p) { _mm_prefetch(p, _MM_HINT_T1); }

  static LONGHAND_INLINE F Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static LONGHAND_INLINE F Set(float x) {
    const __m256 all = _mm256_set1_ps(x);
    return {all, all};
  }
  static LONGHAND_INLINE F Load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
  }
  static LONGHAND_INLINE void Store(float* p, F x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
  }
  static LONGHAND_INLINE F Load(const float* p, int n) {
    return {_mm256_maskload_ps(p, First(n)), _mm256_maskload_ps(p + 8, First(n - 8))};
  }
  static LONGHAND_INLINE void Store(float* p, F x, int n) {
    _mm256_maskstore_ps(p, First(n), x.lo);
    _mm256_maskstore_ps(p + 8, First(n - 8), x.hi);
  }

  static LONGHAND_INLINE F Add(F a, F b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Sub(F a, F b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Mul(F a, F b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Div(F a, F b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static LONGHAND_INLINE F FmaNegated(F a, F b, F c) {
    return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
  }
  static LONGHAND_INLINE F Max(F a, F b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Min(F a, F b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  static LONGHAND_INLINE F Round(F x) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.lo, kMode), _mm256_round_ps(x.hi, kMode)};
  }
  static LONGHAND_INLINE __m256 PowerOfTwo(__m256 n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  static LONGHAND_INLINE F PowerOfTwo(F n) { return {PowerOfTwo(n.lo), PowerOfTwo(n.hi)}; }
  static LONGHAND_INLINE F SelectLess(F a, F b, F yes, F no) {
    return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
            _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
  }
  static LONGHAND_INLINE F Keep(F x, int n, F other) {
    return {_mm256_blendv_ps(other.lo, x.lo, _mm256_castsi256_ps(First(n))),
            _mm256_blendv_ps(other.hi, x.hi, _mm256_castsi256_ps(First(n - 8)))};
  }

  static LONGHAND_INLINE float ReduceAdd(F x) {
    __m256 y = _mm256_add_ps(x.lo, x.hi);
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_shuffle_ps(z, z, 1)));
  }
  static LONGHAND_INLINE float ReduceMax(F x) {
    __m256 y = _mm256_max_ps(x.lo, x.hi);
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_shuffle_ps(z, z, 1)));
  }

  static LONGHAND_INLINE __m256 Widen(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static LONGHAND_INLINE F LoadBf16(const uint16_t* p) {
    return {Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  static LONGHAND_INLINE F LoadBf16(const uint16_t* p, int n) {
    alignas(32) uint16_t full[16] = {};
    for (int i = 0; i < n; ++i) full[i] = p[i];
    return LoadBf16(full);
  }
  static LONGHAND_INLINE __m256i Narrow(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  }
  static LONGHAND_INLINE void StoreBf16(uint16_t* p, F x) {
    // Packing works within 128-bit lanes; the permutation puts the quarters in order.
    const __m256i packed = _mm256_packus_epi32(Narrow(x.lo), Narrow(x.hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
  }
  static LONGHAND_INLINE void StoreBf16(uint16_t* p, F x, int n) {
    alignas(32) uint16_t full[16];
    StoreBf16(full, x);
    for (int i = 0; i < n; ++i) p[i] = full[i];
  }

  static LONGHAND_INLINE __m256 EightInt8(const int8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static LONGHAND_INLINE F LoadInt8(const int8_t* p) { return {EightInt8(p), EightInt8(p + 8)}; }
  static LONGHAND_INLINE F LoadInt8(const int8_t* p, int n) {
    int8_t full[16] = {};
    for (int i = 0; i < n; ++i) full[i] = p[i];
    return LoadInt8(full);
  }
  static LONGHAND_INLINE void StoreInt8(int8_t* p, F x, int n) {
    // Packing works within 128-bit lanes, twice.
    const __m256i pairs = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)), 0xd8);
    alignas(16) int8_t full[16];
    _mm_store_si128(
        reinterpret_cast<__m128i*>(full),
        _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
    for (int i = 0; i < n; ++i) p[i] = full[i];
  }

  template <int kByte>
  static LONGHAND_INLINE F SignedByte(const void* p) {
    const auto byte = [](__m256i words) LONGHAND_INLINE_LAMBDA {
      return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words, 24 - 8 * kByte), 24));
    };
    return {byte(LoadWords(p, 0)), byte(LoadWords(p, 1))};
  }

  static LONGHAND_INLINE __m256i EightBytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static LONGHAND_INLINE __m256 EightFp8(const uint8_t* p) {
    const __m256i top = _mm256_slli_epi32(EightBytes(p), 24);
    const __m256i bits = _mm256_and_si256(_mm256_srai_epi32(top, 4),
                                          _mm256_set1_epi32(static_cast<int>(0x87f00000u)));
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p120f));
  }
  static LONGHAND_INLINE F LoadFp8(const uint8_t* p) { return {EightFp8(p), EightFp8(p + 8)}; }
  static LONGHAND_INLINE __m256 RoundToFp8(__m256 x) {
    const __m256 sign =
        _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0x80000000u))));
    const __m256 size = _mm256_min_ps(_mm256_set1_ps(448.0f), _mm256_xor_ps(x, sign));
    const __m256i bits = _mm256_castps_si256(size);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 20), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_and_si256(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7ffff)), odd),
                         _mm256_set1_epi32(static_cast<int>(0xfff00000u)));
    const __m256 large = _mm256_set1_ps(0x1p14f);
    const __m256 small = _mm256_sub_ps(_mm256_add_ps(size, large), large);
    const __m256 is_small = _mm256_cmp_ps(size, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ);
    return _mm256_or_ps(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), small, is_small), sign);
  }
  static LONGHAND_INLINE F RoundToFp8(F x) { return {RoundToFp8(x.lo), RoundToFp8(x.hi)}; }
  static LONGHAND_INLINE void LoadNibbles(const uint8_t* p, F& low, F& high) {
    const __m256i lower = _mm256_set1_epi32(15);
    const __m256i first = EightBytes(p), second = EightBytes(p + 8);
    low = {_mm256_cvtepi32_ps(_mm256_and_si256(first, lower)),
           _mm256_cvtepi32_ps(_mm256_and_si256(second, lower))};
    high = {_mm256_cvtepi32_ps(_mm256_srli_epi32(first, 4)),
            _mm256_cvtepi32_ps(_mm256_srli_epi32(second, 4))};
  }
  static LONGHAND_INLINE __m256 RoundToBf16(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd),
                         _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static LONGHAND_INLINE F RoundToBf16(F x) { return {RoundToBf16(x.lo), RoundToBf16(x.hi)}; }

  static LONGHAND_INLINE __m256i LoadWords(const void* p, int index) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p) + index);
  }
  static LONGHAND_INLINE F LowHalves(const void* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(LoadWords(p, 0), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(LoadWords(p, 1), 16))};
  }
  static LONGHAND_INLINE F HighHalves(const void* p) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(LoadWords(p, 0), mask)),
            _mm256_castsi256_ps(_mm256_and_si256(LoadWords(p, 1), mask))};
  }

  // 8 x 8 words of rows[0..7], from byte_offset on.
  static LONGHAND_INLINE void TransposeEight(
      const char* const* rows, int64_t byte_offset, int num_words, float* out, int64_t out_stride) {
    __m256 r[8], t[8];
    const __m256i mask = First(num_words);
    for (int j = 0; j < 8; ++j) {
      r[j] = _mm256_maskload_ps(reinterpret_cast<const float*>(rows[j] + byte_offset), mask);
    }
    for (int j = 0; j < 4; ++j) {
      t[2 * j] = _mm256_unpacklo_ps(r[2 * j], r[2 * j + 1]);
      t[2 * j + 1] = _mm256_unpackhi_ps(r[2 * j], r[2 * j + 1]);
    }
    for (int j = 0; j < 2; ++j) {
      r[4 * j] = _mm256_shuffle_ps(t[4 * j], t[4 * j + 2], 0x44);
      r[4 * j + 1] = _mm256_shuffle_ps(t[4 * j], t[4 * j + 2], 0xee);
      r[4 * j + 2] = _mm256_shuffle_ps(t[4 * j + 1], t[4 * j + 3], 0x44);
      r[4 * j + 3] = _mm256_shuffle_ps(t[4 * j + 1], t[4 * j + 3], 0xee);
    }
    for (int c = 0; c < 4; ++c) {
      t[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
      t[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
    }
    for (int i = 0; i < num_words; ++i) _mm256_storeu_ps(out + i * out_stride, t[i]);
  }
  static LONGHAND_INLINE void Transpose(
      const char* const* rows, int64_t byte_offset, int num_words, float* out, int64_t out_stride) {
    const int first = num_words < 8 ? num_words : 8;
    for (int j = 0; j < 16; j += 8) {
      TransposeEight(rows + j, byte_offset, first, out + j, out_stride);
      if (num_words > 8) {
        TransposeEight(rows + j, byte_offset + 32, num_words - 8, out + 8 * out_stride + j,
                       out_stride);
      }
    }
  }

  // Whole numbers: sixteen words.
  struct I {
    __m256i lo, hi;
  };
  static constexpr int kInt8Rows = 3;
  static LONGHAND_INLINE I SetWord(const void* p) {
    const __m256i all = _mm256_set1_epi32(*static_cast<const int32_t*>(p));
    return {all, all};
  }
  // Products of two bytes with a sign are added in 16 bits, where -127 .. 127 cannot overflow; so
  // the bias is taken from the bytes, not from the sums.
  static LONGHAND_INLINE I StartProducts(const void*) {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  static LONGHAND_INLINE I LoadBiased(const void* p) {
    const __m256i bias = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(LoadWords(p, 0), bias), _mm256_xor_si256(LoadWords(p, 1), bias)};
  }
  static LONGHAND_INLINE __m256i AddProducts(__m256i sum, __m256i a, __m256i b) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static LONGHAND_INLINE I AddProducts(I sum, I a, I b) {
    return {AddProducts(sum.lo, a.lo, b.lo), AddProducts(sum.hi, a.hi, b.hi)};
  }
  static LONGHAND_INLINE F ToFloats(I x) {
    return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)};
  }
};

}  // namespace longhand::kernels::cpu
