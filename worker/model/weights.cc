#include "worker/model/weights.h"

#include <string>
#include <utility>

namespace longhand::model {
namespace {

constexpr auto kPlain = kernels::LinearLayout::kPlain;
constexpr auto kGateUp = kernels::LinearLayout::kGateUp;

Status LoadLayer(WeightSource& source,
                 const ModelConfig& config,
                 const RankShard& shard,
                 const std::string& prefix,
                 LayerWeights* out) {
  const IndexRange query = {shard.heads.begin * config.head_dim, shard.heads.end * config.head_dim};
  const IndexRange kv = {shard.kv_heads.begin * config.head_dim,
                         shard.kv_heads.end * config.head_dim};
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LONGHAND_ASSIGN_OR_RETURN(out->input_norm, source.Vector({{prefix + "input_layernorm.weight"}}));
  LONGHAND_ASSIGN_OR_RETURN(out->qkv, source.LayerLinear({{attention + "q_proj.weight", query},
                                                          {attention + "k_proj.weight", kv},
                                                          {attention + "v_proj.weight", kv}},
                                                         kPlain));
  LONGHAND_ASSIGN_OR_RETURN(out->qkv_bias, source.Vector({{attention + "q_proj.bias", query},
                                                          {attention + "k_proj.bias", kv},
                                                          {attention + "v_proj.bias", kv}}));
  LONGHAND_ASSIGN_OR_RETURN(out->o,
                            source.LayerLinear({{attention + "o_proj.weight", {}, query}}, kPlain));
  LONGHAND_ASSIGN_OR_RETURN(out->post_attention_norm,
                            source.Vector({{prefix + "post_attention_layernorm.weight"}}));
  LONGHAND_ASSIGN_OR_RETURN(out->gate_up, source.LayerLinear({{mlp + "gate_proj.weight", shard.ffn},
                                                              {mlp + "up_proj.weight", shard.ffn}},
                                                             kGateUp));
  LONGHAND_ASSIGN_OR_RETURN(
      out->down, source.LayerLinear({{mlp + "down_proj.weight", {}, shard.ffn}}, kPlain));
  return OkStatus();
}

// Of the head or the image encoder.
Result<std::unique_ptr<kernels::PackedLinear>> OtherLinear(WeightSource& source,
                                                           const std::vector<TensorSlice>& slices,
                                                           kernels::LinearLayout layout) {
  return QuantizesHeadAndEncoder(source.quantization()) ? source.LayerLinear(slices, layout)
                                                        : source.Linear(slices, layout);
}

// One linear layer of the encoder, or several fused. Each has its output and input padded with
// zeros to these widths.
Status LoadBiased(WeightSource& source,
                  const std::vector<std::string>& names,
                  BiasedLinear* out,
                  kernels::LinearLayout layout = kPlain,
                  int64_t padded_out = 0,
                  int64_t padded_in = 0) {
  std::vector<TensorSlice> weights;
  std::vector<TensorSlice> biases;
  for (const std::string& name : names) {
    weights.push_back(
        {.name = name + ".weight", .padded_rows = padded_out, .padded_columns = padded_in});
    biases.push_back({.name = name + ".bias", .padded_rows = padded_out});
  }
  LONGHAND_ASSIGN_OR_RETURN(out->weight, OtherLinear(source, weights, layout));
  LONGHAND_ASSIGN_OR_RETURN(out->bias, source.Vector(biases));
  return OkStatus();
}

Status LoadVision(WeightSource& source, const VisionConfig& config, VisionWeights* out) {
  LONGHAND_ASSIGN_OR_RETURN(out->patch_embed,
                            source.Linear({{"visual.patch_embed.proj.weight"}}, kPlain));
  const int64_t ffn = config.padded_intermediate_size();
  for (int64_t i = 0; i < config.depth; ++i) {
    const std::string prefix = "visual.blocks." + std::to_string(i) + ".";
    VisionBlockWeights block;
    LONGHAND_ASSIGN_OR_RETURN(block.norm1, source.Vector({{prefix + "norm1.weight"}}));
    LONGHAND_ASSIGN_OR_RETURN(block.norm2, source.Vector({{prefix + "norm2.weight"}}));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(source, {prefix + "attn.qkv"}, &block.qkv));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(source, {prefix + "attn.proj"}, &block.proj));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(source, {prefix + "mlp.gate_proj", prefix + "mlp.up_proj"},
                                        &block.gate_up, kGateUp, /*padded_out=*/ffn));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(source, {prefix + "mlp.down_proj"}, &block.down, kPlain,
                                        /*padded_out=*/0, /*padded_in=*/ffn));
    out->blocks.push_back(std::move(block));
  }
  LONGHAND_ASSIGN_OR_RETURN(out->merger_norm, source.Vector({{"visual.merger.ln_q.weight"}}));
  LONGHAND_RETURN_IF_ERROR(LoadBiased(source, {"visual.merger.mlp.0"}, &out->merger_fc1));
  return LoadBiased(source, {"visual.merger.mlp.2"}, &out->merger_fc2);
}

}  // namespace

Result<ModelWeights> ReadWeights(WeightSource& source,
                                 const ModelConfig& config,
                                 const ShardPlan& plan,
                                 int32_t rank) {
  ModelWeights out;
  out.shard = plan.ranks[static_cast<size_t>(rank)];
  const std::string embedding = "model.embed_tokens.weight";
  LONGHAND_ASSIGN_OR_RETURN(out.embedding, source.Matrix({embedding, out.shard.vocab}));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer;
    LONGHAND_RETURN_IF_ERROR(
        LoadLayer(source, config, out.shard, "model.layers." + std::to_string(i) + ".", &layer));
    out.layers.push_back(std::move(layer));
  }
  LONGHAND_ASSIGN_OR_RETURN(out.final_norm, source.Vector({{"model.norm.weight"}}));
  const TensorSlice head = {.name = config.tie_word_embeddings ? embedding : "lm_head.weight",
                            .rows = out.shard.vocab,
                            .padded_rows = plan.padded_vocab_rows};
  LONGHAND_ASSIGN_OR_RETURN(out.head, OtherLinear(source, {head}, kPlain));
  LONGHAND_RETURN_IF_ERROR(LoadVision(source, config.vision, &out.vision));
  out.bytes = source.done_bytes();
  return out;
}

}  // namespace longhand::model
