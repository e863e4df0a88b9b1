#include "common/adapter/adapter_targets.h"

namespace longhand {

std::vector<AdapterTarget> AdapterTargets(const ModelConfig& config) {
  std::vector<AdapterTarget> targets;
  const int64_t hidden = config.hidden_size, ffn = config.intermediate_size;
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    targets.push_back({layer + "self_attn.q_proj", hidden, query});
    targets.push_back({layer + "self_attn.k_proj", hidden, kv});
    targets.push_back({layer + "self_attn.v_proj", hidden, kv});
    targets.push_back({layer + "self_attn.o_proj", query, hidden});
    targets.push_back({layer + "mlp.gate_proj", hidden, ffn});
    targets.push_back({layer + "mlp.up_proj", hidden, ffn});
    targets.push_back({layer + "mlp.down_proj", ffn, hidden});
  }
  const VisionConfig& vision = config.vision;
  const int64_t width = vision.hidden_size, mlp = vision.intermediate_size;
  for (int64_t i = 0; i < vision.depth; ++i) {
    const std::string block = "visual.blocks." + std::to_string(i) + ".";
    targets.push_back({block + "attn.qkv", width, 3 * width});
    targets.push_back({block + "attn.proj", width, width});
    targets.push_back({block + "mlp.gate_proj", width, mlp});
    targets.push_back({block + "mlp.up_proj", width, mlp});
    targets.push_back({block + "mlp.down_proj", mlp, width});
  }
  const int64_t merged = width * vision.patches_per_token();
  targets.push_back({"visual.merger.mlp.0", merged, merged});
  targets.push_back({"visual.merger.mlp.2", merged, vision.out_hidden_size});
  return targets;
}

int64_t AdapterBytes(const ModelConfig& config, int32_t tp_size, int64_t rank, DType dtype) {
  int64_t features = 0;
  for (const AdapterTarget& target : AdapterTargets(config)) {
    const bool is_text = target.module.starts_with("model.");
    const bool splits_inputs =
        target.module.ends_with(".o_proj") || target.module.ends_with(".down_proj");
    const int64_t shards = is_text ? tp_size : 1;
    features += splits_inputs ? target.in_features / shards + target.out_features
                              : target.in_features + target.out_features / shards;
  }
  return features * rank * static_cast<int64_t>(DTypeSize(dtype));
}

std::string PublishedModule(std::string_view name) {
  constexpr std::string_view kText = "model.language_model.";
  constexpr std::string_view kVision = "model.visual.";
  if (name.starts_with(kText)) return "model." + std::string(name.substr(kText.size()));
  if (name.starts_with(kVision)) return "visual." + std::string(name.substr(kVision.size()));
  return std::string(name);
}

}  // namespace longhand
