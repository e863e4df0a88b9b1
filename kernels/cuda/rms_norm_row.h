// RMSNorm of one row by a block, for every kernel that ends in one: the same bits.
#pragma once

#include "kernels/cuda/rounded_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kNormThreads = 256;

// The sum of a row's squares to what its elements are multiplied by.
__device__ __forceinline__ float NormFactor(float sum,
                                            int64_t hidden_size,
                                            float eps,
                                            float* scratch) {
  sum = ReduceBlock(sum, scratch, [](float a, float b) { return a + b; });
  return 1.0f / sqrtf(sum / static_cast<float>(hidden_size) + eps);
}

// residual += values, as they are stored; values = residual.
template <typename A, bool kAligned>
__device__ __forceinline__ void AddToResidual(A* residual, int64_t left, float (&values)[kGroup]) {
  float add[kGroup];
  LoadGroup<kAligned>(residual, left, add);
  for (int j = 0; j < kGroup; ++j) values[j] = ToFloat(FromFloat<A>(add[j] + values[j]));
  StoreGroup<kAligned>(residual, left, values);
}

// load(i, left, values) gives eight elements of x from i on, of which `left` exist. With a residual
// (A*, or nullptr) it is added up and normed. With `scale` the result is then rounded
// (rounded_row.h), to codes where `out` has them. A thread takes groups of eight elements, and
// reads again only what it has read or written itself.
template <typename A, bool kAligned, typename Load, typename Residual, typename Out>
__device__ __forceinline__ void NormRow(Load&& load,
                                        Residual residual,
                                        const float* weight,
                                        int64_t hidden_size,
                                        float eps,
                                        Out* out,
                                        float* scale,
                                        float* scratch) {
  constexpr bool kHasResidual = !std::is_null_pointer_v<Residual>;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kGroup, step = kNormThreads * kGroup;
  float sum = 0;
  for (int64_t i = first; i < hidden_size; i += step) {
    float values[kGroup];
    load(i, hidden_size - i, values);
    if constexpr (kHasResidual) {
      AddToResidual<A, kAligned>(residual + i, hidden_size - i, values);
    }
    for (int j = 0; j < kGroup; ++j) sum = fmaf(values[j], values[j], sum);
  }
  const float factor = NormFactor(sum, hidden_size, eps, scratch);
  const auto norm = [&](int64_t i, int64_t left, float (&values)[kGroup]) {
    float weights[kGroup];
    if constexpr (kHasResidual) {
      LoadGroup<kAligned>(residual + i, left, values);
    } else {
      load(i, left, values);
    }
    LoadGroup<kAligned>(weight + i, left, weights);
    for (int j = 0; j < kGroup; ++j) values[j] = values[j] * factor * weights[j];
  };
  if constexpr (std::is_same_v<Out, DeviceFp8>) {
    RoundRow<kNormThreads, kAligned>(
        [&](int64_t i, int64_t left, float (&values)[kGroup]) {
          norm(i, left, values);
          for (int j = 0; j < kGroup; ++j) values[j] = ToFloat(FromFloat<A>(values[j]));
        },
        hidden_size, out, scale, scratch);
  } else {
    for (int64_t i = first; i < hidden_size; i += step) {
      float values[kGroup];
      norm(i, hidden_size - i, values);
      StoreGroup<kAligned>(out + i, hidden_size - i, values);
    }
    if (scale == nullptr) return;
    RoundRow<kNormThreads, kAligned>(
        [&](int64_t i, int64_t left, float (&values)[kGroup]) {
          LoadGroup<kAligned>(out + i, left, values);
        },
        hidden_size, out, scale, scratch);
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
