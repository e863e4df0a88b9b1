// AVX-512 with VNNI, which multiplies bytes.
#pragma once

#include "kernels/cpu/simd_avx512.h"

namespace longhand::kernels::cpu {

struct Vnni : Avx512 {
  // Whole numbers: sixteen words.
  using I = __m512i;
  // Register blocking: so many rows x 2 vectors of whole numbers, and as many of floats.
  static constexpr int kInt8Rows = 6;
  static LONGHAND_INLINE I SetWord(const void* p) {
    return _mm512_set1_epi32(*static_cast<const int32_t*>(p));
  }
  // Where sums of products begin: with the word that takes the bias out of them.
  static LONGHAND_INLINE I StartProducts(const void* unbias) { return SetWord(unbias); }
  static LONGHAND_INLINE I LoadBiased(const void* p) { return _mm512_loadu_si512(p); }
  // Each word of sum, plus the products of a's four bytes, without a sign, and b's, with one.
  static LONGHAND_INLINE I AddProducts(I sum, I a, I b) { return _mm512_dpbusd_epi32(sum, a, b); }
  static LONGHAND_INLINE F ToFloats(I x) { return _mm512_cvtepi32_ps(x); }
};

}  // namespace longhand::kernels::cpu
