#include "worker/model/adapter_groups.h"

namespace longhand::model {
namespace {

AdapterPart Part(const std::string& module, IndexRange rows, int64_t columns = 0) {
  return {module, rows, columns > 0 ? columns : rows.size()};
}

AdapterGroup Group(std::vector<AdapterPart> parts, IndexRange inputs, int64_t in_features = 0) {
  return {std::move(parts), inputs, in_features > 0 ? in_features : inputs.size()};
}

IndexRange OfHeads(IndexRange heads, int64_t head_dim) {
  return {heads.begin * head_dim, heads.end * head_dim};
}

}  // namespace

std::vector<AdapterGroup> AdapterGroups(const ModelConfig& config, const RankShard& shard) {
  std::vector<AdapterGroup> groups;
  const IndexRange hidden = {0, config.hidden_size};
  const IndexRange query = OfHeads(shard.heads, config.head_dim);
  const IndexRange kv = OfHeads(shard.kv_heads, config.head_dim);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
    groups.push_back(Group({Part(attention + "q_proj", query), Part(attention + "k_proj", kv),
                            Part(attention + "v_proj", kv)},
                           hidden));
    groups.push_back(Group({Part(attention + "o_proj", hidden)}, query));
    groups.push_back(
        Group({Part(mlp + "gate_proj", shard.ffn), Part(mlp + "up_proj", shard.ffn)}, hidden));
    groups.push_back(Group({Part(mlp + "down_proj", hidden)}, shard.ffn));
  }
  const VisionConfig& vision = config.vision;
  const IndexRange width = {0, vision.hidden_size}, ffn = {0, vision.intermediate_size};
  const int64_t padded = vision.padded_intermediate_size();
  for (int64_t i = 0; i < vision.depth; ++i) {
    const std::string block = "visual.blocks." + std::to_string(i) + ".";
    groups.push_back(Group({Part(block + "attn.qkv", {0, 3 * vision.hidden_size})}, width));
    groups.push_back(Group({Part(block + "attn.proj", width)}, width));
    groups.push_back(Group(
        {Part(block + "mlp.gate_proj", ffn, padded), Part(block + "mlp.up_proj", ffn, padded)},
        width));
    groups.push_back(Group({Part(block + "mlp.down_proj", width)}, ffn, padded));
  }
  const IndexRange merged = {0, vision.hidden_size * vision.patches_per_token()};
  groups.push_back(Group({Part("visual.merger.mlp.0", merged)}, merged));
  groups.push_back(Group({Part("visual.merger.mlp.2", {0, vision.out_hidden_size})}, merged));
  return groups;
}

}  // namespace longhand::model
