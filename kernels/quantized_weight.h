// QuantizedWeight: a weight matrix as codes and scales, in host memory, as it is given to be
// packed.
//
// What element (n, k) of [out_features, in_features] is:
//
//   fp8   codes [N, K] fp8      code * scales[n]
//   int8  codes [N, K] i8       code * scales[n, k / 32]; codes from -127 on
//   int4  codes [N, K / 2] u8   bf16((code - zeros[n, g]) * scales[n, g]) for g = k / group_size;
//                               an even k lies in the lower half of its byte
//
// So every element but for its scale is a number that bf16 has (int4: with it), and a product of
// two of them is exact in f32: a backend that multiplies fp8 and one that widens to bf16 differ by
// the order of their sums alone. A weight in int8 is multiplied with rows of x that are rounded to
// int8 by groups of 32 as well (QuantizeInt8), so that a group's product is a whole number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/bf16.h"
#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/int8_group.h"

namespace longhand::kernels {

// Elements of a group are neighbours in k; a group is a multiple of these.
inline constexpr int64_t kLeastGroup = 64;

struct QuantizedWeight {
  TensorView codes;   // fp8 or i8 [N, K], u8 [N, K / 2]
  TensorView scales;  // [N] f32; int8: [N, groups of K] bf16; int4: [N, K / group_size] bf16
  TensorView zeros;   // int4: [N, K / group_size] u8, at most 15; else absent

  bool is_int4() const { return codes.dtype() == DType::kU8; }
  int64_t out_features() const { return codes.dim(0); }
  int64_t in_features() const { return codes.dim(1) * (is_int4() ? 2 : 1); }
  int64_t group_size() const { return in_features() / scales.dim(1); }  // int4
  size_t num_bytes() const;  // as it is counted: half a byte of zeros a group
};

// kInvalidArgument unless the tensors are as above.
Status CheckQuantizedWeight(const QuantizedWeight& weight);

// A row of floats as the nearest fp8 codes, the largest magnitude being 448; *scale is 0 where all
// are zeros.
void QuantizeFp8(const float* row, int64_t count, uint8_t* codes, float* scale);

// A row of x as the nearest int8 codes, the largest magnitude of each group of 32 being 127; a
// group's scale is 0 where all are zeros, and NaN where one is no number.
void QuantizeInt8(const float* row, int64_t count, int8_t* codes, float* scales);
// The same of a row of a weight, whose scales are in bf16: the one nearest to a 127th of the
// largest magnitude, or the next above it, whichever loses less.
void QuantizeInt8(const float* row, int64_t count, int8_t* codes, Bf16* scales);

}  // namespace longhand::kernels
