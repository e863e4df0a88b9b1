// The frequencies of rotary positions, with or without YaRN.
#pragma once

#include <cstdint>
#include <vector>

#include "common/config/model_config.h"

namespace longhand::model {

struct RopeFrequencies {
  std::vector<float> inv_freq;     // [head_dim / 2]
  float attention_scaling = 1.0f;  // multiplies cos and sin
};

RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int64_t head_dim);

}  // namespace longhand::model
