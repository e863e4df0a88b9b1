// QuantizedWeight: a weight matrix as codes and scales, in host memory, as it is given to be
// packed.
//
// What element (n, k) of [out_features, in_features] is:
//
//   fp8   codes [N, K] fp8      code * scales[n]
//   int8  codes [N, K] i8       code * scales[n]; codes from -127 on
//   int4  codes [N, K / 2] u8   bf16((code - zeros[n, g]) * scales[n, g]) for g = k / group_size;
//                               an even k lies in the lower half of its byte
//
// So every element but for a row's scale is a number that bf16 has, and a product of two of them is
// exact in f32: a backend that multiplies fp8 and one that widens to bf16 differ by the order of
// their sums alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand::kernels {

// Elements of a group are neighbours in k; a group is a multiple of these.
inline constexpr int64_t kLeastGroup = 64;

struct QuantizedWeight {
  TensorView codes;   // fp8 or i8 [N, K], u8 [N, K / 2]
  TensorView scales;  // [N] f32; int4: [N, K / group_size] bf16
  TensorView zeros;   // int4: [N, K / group_size] u8, at most 15; else absent

  bool is_int4() const { return codes.dtype() == DType::kU8; }
  int64_t out_features() const { return codes.dim(0); }
  int64_t in_features() const { return codes.dim(1) * (is_int4() ? 2 : 1); }
  int64_t group_size() const { return in_features() / scales.dim(1); }  // int4
  size_t num_bytes() const;  // as it is counted: half a byte of zeros a group
};

// kInvalidArgument unless the tensors are as above.
Status CheckQuantizedWeight(const QuantizedWeight& weight);

// A row of floats as the nearest codes (fp8 or i8), the largest magnitude being 448 or 127; *scale
// is 0 where all are zeros.
void QuantizeRow(const float* row, int64_t count, DType code_dtype, void* codes, float* scale);

}  // namespace longhand::kernels
