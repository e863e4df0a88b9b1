// The draw among tokens: the largest of score + noise, whose exact noise is computed for few.
#pragma once

#include "kernels/cuda/sampling_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// The best draw so far, by noisy score.
class Draw {
 public:
  // Begins with the likeliest token, which every filter keeps.
  __device__ Draw(const DrawKey& key, int32_t likeliest) : key_(key) {
    drawn_ = KeyOf(GumbelOf(key_, likeliest), likeliest);
    bound_ = ValueOf(drawn_);
  }

  __device__ __forceinline__ void Add(float score, int64_t id) {
    constexpr float kLargestNoise = 16.7f;
    if (score + kLargestNoise < bound_) return;
    const float u = UniformOf(key_, id);
    if (score + AboutGumbel(u) < bound_) return;
    const TokenKey noisy = KeyOf(__fadd_rn(score, GumbelOf(u)), id);
    if (noisy > drawn_) {
      drawn_ = noisy;
      bound_ = ValueOf(noisy);
    }
  }

  // Lets the lanes of a warp, all of which are here, know what the others have to beat.
  __device__ __forceinline__ void ShareBound() {
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      bound_ = fmaxf(bound_, __shfl_xor_sync(kAllLanes, bound_, step));
    }
  }

  __device__ TokenKey drawn() const { return drawn_; }

 private:
  // Not below the noise, and above it by 0.02 at most; the noise itself takes two logarithms of
  // doubles.
  __device__ __forceinline__ static float AboutGumbel(float u) {
    constexpr float kError = 0.01f;
    const float rest = 1.0f - u;
    const float y = rest < 0x1p-7f ? rest + 0.5f * rest * rest : -__logf(u);
    return kError - __logf(y);
  }

  DrawKey key_;
  TokenKey drawn_;
  float bound_;
};

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
