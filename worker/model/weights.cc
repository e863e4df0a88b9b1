#include "worker/model/weights.h"

#include <string>
#include <utility>

#include "worker/model/tensor_specs.h"

namespace longhand::model {
namespace {

Status LoadLayer(WeightReader& reader,
                 const ModelConfig& config,
                 const RankShard& shard,
                 const std::string& prefix,
                 LayerWeights* out) {
  const IndexRange query = {shard.heads.begin * config.head_dim, shard.heads.end * config.head_dim};
  const IndexRange kv = {shard.kv_heads.begin * config.head_dim,
                         shard.kv_heads.end * config.head_dim};
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LONGHAND_ASSIGN_OR_RETURN(out->input_norm, reader.Vector({{prefix + "input_layernorm.weight"}}));
  LONGHAND_ASSIGN_OR_RETURN(out->qkv, reader.Linear({{attention + "q_proj.weight", query},
                                                     {attention + "k_proj.weight", kv},
                                                     {attention + "v_proj.weight", kv}}));
  LONGHAND_ASSIGN_OR_RETURN(out->qkv_bias, reader.Vector({{attention + "q_proj.bias", query},
                                                          {attention + "k_proj.bias", kv},
                                                          {attention + "v_proj.bias", kv}}));
  LONGHAND_ASSIGN_OR_RETURN(out->o, reader.Linear({{attention + "o_proj.weight", {}, query}}));
  LONGHAND_ASSIGN_OR_RETURN(out->post_attention_norm,
                            reader.Vector({{prefix + "post_attention_layernorm.weight"}}));
  LONGHAND_ASSIGN_OR_RETURN(out->gate_up, reader.Linear({{mlp + "gate_proj.weight", shard.ffn},
                                                         {mlp + "up_proj.weight", shard.ffn}}));
  LONGHAND_ASSIGN_OR_RETURN(out->down, reader.Linear({{mlp + "down_proj.weight", {}, shard.ffn}}));
  return OkStatus();
}

// One linear layer of the encoder, or several fused.
Status LoadBiased(WeightReader& reader, const std::vector<std::string>& names, BiasedLinear* out) {
  std::vector<TensorSlice> weights;
  std::vector<TensorSlice> biases;
  for (const std::string& name : names) {
    weights.push_back({name + ".weight"});
    biases.push_back({name + ".bias"});
  }
  LONGHAND_ASSIGN_OR_RETURN(out->weight, reader.Linear(weights));
  LONGHAND_ASSIGN_OR_RETURN(out->bias, reader.Vector(biases));
  return OkStatus();
}

Status LoadVision(WeightReader& reader, const VisionConfig& config, VisionWeights* out) {
  LONGHAND_ASSIGN_OR_RETURN(out->patch_embed, reader.Linear({{"visual.patch_embed.proj.weight"}}));
  for (int64_t i = 0; i < config.depth; ++i) {
    const std::string prefix = "visual.blocks." + std::to_string(i) + ".";
    VisionBlockWeights block;
    LONGHAND_ASSIGN_OR_RETURN(block.norm1, reader.Vector({{prefix + "norm1.weight"}}));
    LONGHAND_ASSIGN_OR_RETURN(block.norm2, reader.Vector({{prefix + "norm2.weight"}}));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(reader, {prefix + "attn.qkv"}, &block.qkv));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(reader, {prefix + "attn.proj"}, &block.proj));
    LONGHAND_RETURN_IF_ERROR(
        LoadBiased(reader, {prefix + "mlp.gate_proj", prefix + "mlp.up_proj"}, &block.gate_up));
    LONGHAND_RETURN_IF_ERROR(LoadBiased(reader, {prefix + "mlp.down_proj"}, &block.down));
    out->blocks.push_back(std::move(block));
  }
  LONGHAND_ASSIGN_OR_RETURN(out->merger_norm, reader.Vector({{"visual.merger.ln_q.weight"}}));
  LONGHAND_RETURN_IF_ERROR(LoadBiased(reader, {"visual.merger.mlp.0"}, &out->merger_fc1));
  return LoadBiased(reader, {"visual.merger.mlp.2"}, &out->merger_fc2);
}

}  // namespace

DType WeightDTypeOf(const Checkpoint& checkpoint, DType model_dtype) {
  DType on_disk = DType::kBf16;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.shape.size() > 1 && tensor.dtype != DType::kBf16) on_disk = tensor.dtype;
  }
  return WeightDType(on_disk, model_dtype);
}

Result<ModelWeights> LoadWeights(const Checkpoint& checkpoint,
                                 const ModelConfig& config,
                                 int32_t tp_size,
                                 int32_t rank,
                                 DType model_dtype,
                                 kernels::Ops& ops,
                                 const LoadProgress& progress) {
  LONGHAND_RETURN_IF_ERROR(CheckTensors(checkpoint, config));
  const DType weight_dtype = WeightDTypeOf(checkpoint, model_dtype);
  LONGHAND_ASSIGN_OR_RETURN(const ShardPlan plan,
                            PlanShards(config, tp_size, weight_dtype, model_dtype));
  LONGHAND_CHECK(rank >= 0 && rank < tp_size) << "rank " << rank << " of " << tp_size;
  ModelWeights out;
  out.shard = plan.ranks[rank];
  WeightReader reader(checkpoint, weight_dtype, out.shard.weight_bytes, ops, progress);

  const std::string embedding = "model.embed_tokens.weight";
  LONGHAND_ASSIGN_OR_RETURN(out.embedding, reader.Matrix({embedding, out.shard.vocab}));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer;
    LONGHAND_RETURN_IF_ERROR(
        LoadLayer(reader, config, out.shard, "model.layers." + std::to_string(i) + ".", &layer));
    out.layers.push_back(std::move(layer));
  }
  LONGHAND_ASSIGN_OR_RETURN(out.final_norm, reader.Vector({{"model.norm.weight"}}));
  const std::string head = config.tie_word_embeddings ? embedding : "lm_head.weight";
  LONGHAND_ASSIGN_OR_RETURN(out.head,
                            reader.Linear({{head, out.shard.vocab}}, plan.padded_vocab_rows));
  LONGHAND_RETURN_IF_ERROR(LoadVision(reader, config.vision, &out.vision));
  out.bytes = reader.done_bytes();
  return out;
}

}  // namespace longhand::model
