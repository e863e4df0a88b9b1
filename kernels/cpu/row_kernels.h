// Operations on one row of floats, compiled for each instruction set; row_kernel.h says how they
// work.
#pragma once

#include <cstdint>

namespace longhand::kernels::cpu {

// bf16 elements are uint16_t here.
struct RowKernels {
  void (*widen)(const uint16_t* x, int64_t n, float* out);
  // y may be null, for a copy.
  void (*add)(const float* x, const float* y, int64_t n, float* out);
  void (*add_to_bf16)(const float* x, const float* y, int64_t n, uint16_t* out);
  // x[n] normalised and times weight; `out` may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu)(int64_t n, float* x);
  // Rotate-half of one head [2 * half], after adding the bias where it is given; `out` may be x.
  void (*rotate)(const float* x,
                 const float* bias,
                 const float* cos,
                 const float* sin,
                 int64_t half,
                 float* out);
  void (*rotate_to_bf16)(const float* x,
                         const float* bias,
                         const float* cos,
                         const float* sin,
                         int64_t half,
                         uint16_t* out);
  // Of an adapter's matrices: x a, and y += scale * (mid b) of columns, for b's rows so far apart.
  float (*dot)(const float* x, const float* a, int64_t n);
  float (*dot_bf16)(const float* x, const uint16_t* a, int64_t n);
  void (*add_delta)(const float* mid,
                    int64_t rank,
                    const float* b,
                    int64_t stride,
                    float scale,
                    int64_t n,
                    float* y);
  void (*add_delta_bf16)(const float* mid,
                         int64_t rank,
                         const uint16_t* b,
                         int64_t stride,
                         float scale,
                         int64_t n,
                         float* y);
  // The largest magnitude, and x * inverse in 8 bits, rounded to nearest even.
  float (*largest)(const float* x, int64_t n);
  void (*to_int8)(const float* x, float inverse, int64_t n, int8_t* out);
  // x * inverse as the nearest numbers that fp8 has.
  void (*round_to_fp8)(const float* x, float inverse, int64_t n, float* out);
  // Copies with NaN turned into -infinity.
  void (*copy_numbers)(const float* x, int64_t n, float* out);
  float (*max)(const float* x, int64_t n);
  // Sum of e^(x - max).
  double (*sum_exp)(const float* x, float max, int64_t n);
  // x = (x - max) / temperature, and weights = e^x.
  void (*scores)(float max, float temperature, int64_t n, float* x, float* weights);
};

const RowKernels& RowsAvx512();
const RowKernels& RowsAvx2();

}  // namespace longhand::kernels::cpu
