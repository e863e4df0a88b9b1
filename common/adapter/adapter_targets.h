// The linear layers that an adapter may have matrices for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/model_config.h"

namespace longhand {

struct AdapterTarget {
  std::string module;  // as published: "model.layers.0.self_attn.q_proj"
  int64_t in_features = 0;
  int64_t out_features = 0;
};

// Every layer's projections and MLP, the image encoder's, and the merger's two.
std::vector<AdapterTarget> AdapterTargets(const ModelConfig& config);

// What the matrices of an adapter take on a rank, about: of this rank and dtype, for all targets.
int64_t AdapterBytes(const ModelConfig& config, int32_t tp_size, int64_t rank, DType dtype);

// The published name of a module, whichever of transformers' names it has.
std::string PublishedModule(std::string_view name);

}  // namespace longhand
