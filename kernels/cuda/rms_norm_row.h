// RMSNorm of one row by a block, for every kernel that ends in one: the same bits.
#pragma once

#include "kernels/cuda/element.h"
#include "kernels/cuda/reduce.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kNormThreads = 256;

// load(i, left, values) gives eight elements of x from i on, of which `left` exist. With a residual
// it is added up and normed. A thread takes groups of eight elements, and reads again only what it
// has read or written itself.
template <typename A, bool kAligned, typename Load>
__device__ __forceinline__ void NormRow(Load&& load,
                                        A* residual,
                                        const float* weight,
                                        int64_t hidden_size,
                                        float eps,
                                        A* out,
                                        float* scratch) {
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kGroup, step = kNormThreads * kGroup;
  float sum = 0;
  for (int64_t i = first; i < hidden_size; i += step) {
    float values[kGroup];
    load(i, hidden_size - i, values);
    if (residual != nullptr) {
      float add[kGroup];
      LoadGroup<kAligned>(residual + i, hidden_size - i, add);
      for (int j = 0; j < kGroup; ++j) values[j] = ToFloat(FromFloat<A>(add[j] + values[j]));
      StoreGroup<kAligned>(residual + i, hidden_size - i, values);
    }
    for (int j = 0; j < kGroup; ++j) sum = fmaf(values[j], values[j], sum);
  }
  sum = ReduceBlock(sum, scratch, [](float a, float b) { return a + b; });
  const float factor = 1.0f / sqrtf(sum / static_cast<float>(hidden_size) + eps);
  for (int64_t i = first; i < hidden_size; i += step) {
    float values[kGroup], scale[kGroup];
    if (residual != nullptr) {
      LoadGroup<kAligned>(residual + i, hidden_size - i, values);
    } else {
      load(i, hidden_size - i, values);
    }
    LoadGroup<kAligned>(weight + i, hidden_size - i, scale);
    for (int j = 0; j < kGroup; ++j) values[j] = values[j] * factor * scale[j];
    StoreGroup<kAligned>(out + i, hidden_size - i, values);
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
