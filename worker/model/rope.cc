#include "worker/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace longhand::model {
namespace {

// The frequency index at which a full turn count of `rotations` fits into the original context.
double CorrectionIndex(const RopeConfig& rope, int64_t head_dim, double rotations) {
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  return static_cast<double>(head_dim) * std::log(context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

// YaRN's share of interpolation: 0 for fast frequencies, 1 for slow ones, a ramp between.
// Source: Peng et al., "YaRN: efficient context window extension", 2023.
std::vector<float> InterpolationShare(const RopeConfig& rope, int64_t head_dim) {
  const double low =
      std::max(std::floor(CorrectionIndex(rope, head_dim, rope.yarn_beta_fast)), 0.0);
  double high = std::min(std::ceil(CorrectionIndex(rope, head_dim, rope.yarn_beta_slow)),
                         static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  std::vector<float> share;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float ramp =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    share.push_back(std::clamp(ramp, 0.0f, 1.0f));
  }
  return share;
}

}  // namespace

// In f32 where the reference is: a last-bit difference would show at position 100,000.
RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int64_t head_dim) {
  RopeFrequencies out;
  const bool yarn = rope.yarn_factor > 1;
  const std::vector<float> share =
      yarn ? InterpolationShare(rope, head_dim)
           : std::vector<float>(static_cast<size_t>(head_dim) / 2, 0.0f);
  const auto factor = static_cast<float>(rope.yarn_factor);
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto period = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    const float extrapolated = 1.0f / period;
    const float kept = 1.0f - share[i];
    out.inv_freq.push_back(yarn ? 1.0f / (factor * period) * (1.0f - kept) + extrapolated * kept
                                : extrapolated);
  }
  // A factor of 1 stretches nothing, and its attention factor counts where it is given.
  if (rope.yarn_attention_factor != 0) {
    out.attention_scaling = static_cast<float>(rope.yarn_attention_factor);
  } else if (yarn) {
    out.attention_scaling = static_cast<float>(0.1 * std::log(rope.yarn_factor) + 1.0);
  }
  return out;
}

}  // namespace longhand::model
