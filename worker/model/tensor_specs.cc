#include "worker/model/tensor_specs.h"

#include "worker/model/code_reader.h"

namespace longhand::model {
namespace {

using Specs = std::vector<TensorSpec>;

void AddLinear(Specs* specs, const std::string& name, int64_t out, int64_t in, bool bias) {
  specs->push_back({name + ".weight", {out, in}});
  if (bias) specs->push_back({name + ".bias", {out}});
}

// A decoder layer's, as the checkpoint keeps it.
void AddLayerLinear(Specs* specs,
                    const CheckpointQuantization& quantization,
                    const std::string& name,
                    int64_t out,
                    int64_t in,
                    bool bias) {
  const std::string weight = name + ".weight";
  if (quantization.method == Quantization::kAwq) {
    const AwqNames names = AwqNamesOf(weight);
    const int64_t groups = in / quantization.group_size;
    specs->push_back({names.codes, {in, out / 8}, DType::kI32});
    specs->push_back({names.zeros, {groups, out / 8}, DType::kI32});
    specs->push_back({names.scales, {groups, out}});
  } else if (quantization.method == Quantization::kFp8) {
    specs->push_back({weight, {out, in}, DType::kF8E4M3});
    specs->push_back({ScaleNameOf(weight), {out, 1}});
  } else {
    specs->push_back({weight, {out, in}});
  }
  if (bias) specs->push_back({name + ".bias", {out}});
}

void AddTextLayer(Specs* specs, const ModelConfig& config, const std::string& prefix) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  specs->push_back({prefix + "input_layernorm.weight", {hidden}});
  AddLayerLinear(specs, config.quantization, prefix + "self_attn.q_proj", query, hidden, true);
  AddLayerLinear(specs, config.quantization, prefix + "self_attn.k_proj", kv, hidden, true);
  AddLayerLinear(specs, config.quantization, prefix + "self_attn.v_proj", kv, hidden, true);
  AddLayerLinear(specs, config.quantization, prefix + "self_attn.o_proj", hidden, query, false);
  specs->push_back({prefix + "post_attention_layernorm.weight", {hidden}});
  AddLayerLinear(specs, config.quantization, prefix + "mlp.gate_proj", config.intermediate_size,
                 hidden, false);
  AddLayerLinear(specs, config.quantization, prefix + "mlp.up_proj", config.intermediate_size,
                 hidden, false);
  AddLayerLinear(specs, config.quantization, prefix + "mlp.down_proj", hidden,
                 config.intermediate_size, false);
}

void AddVisionBlock(Specs* specs, const VisionConfig& vision, const std::string& prefix) {
  const int64_t hidden = vision.hidden_size;
  specs->push_back({prefix + "norm1.weight", {hidden}});
  specs->push_back({prefix + "norm2.weight", {hidden}});
  AddLinear(specs, prefix + "attn.qkv", 3 * hidden, hidden, true);
  AddLinear(specs, prefix + "attn.proj", hidden, hidden, true);
  AddLinear(specs, prefix + "mlp.gate_proj", vision.intermediate_size, hidden, true);
  AddLinear(specs, prefix + "mlp.up_proj", vision.intermediate_size, hidden, true);
  AddLinear(specs, prefix + "mlp.down_proj", hidden, vision.intermediate_size, true);
}

}  // namespace

std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config) {
  Specs specs;
  const VisionConfig& vision = config.vision;
  specs.push_back({"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    AddTextLayer(&specs, config, "model.layers." + std::to_string(i) + ".");
  }
  specs.push_back({"model.norm.weight", {config.hidden_size}});
  if (!config.tie_word_embeddings) {
    specs.push_back({"lm_head.weight", {config.vocab_size, config.hidden_size}});
  }
  specs.push_back(
      {"visual.patch_embed.proj.weight",
       {vision.hidden_size, 3, vision.temporal_patch_size, vision.patch_size, vision.patch_size}});
  for (int64_t i = 0; i < vision.depth; ++i) {
    AddVisionBlock(&specs, vision, "visual.blocks." + std::to_string(i) + ".");
  }
  const int64_t merged = vision.hidden_size * vision.patches_per_token();
  specs.push_back({"visual.merger.ln_q.weight", {vision.hidden_size}});
  AddLinear(&specs, "visual.merger.mlp.0", merged, merged, true);
  AddLinear(&specs, "visual.merger.mlp.2", vision.out_hidden_size, merged, true);
  return specs;
}

}  // namespace longhand::model
