#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/kv_dtype.h"
#include "worker/model/rope.h"

namespace longhand::model {
namespace {

int64_t QkvWidth(const RankShard& shard, const ModelConfig& config) {
  return (shard.heads.size() + 2 * shard.kv_heads.size()) * config.head_dim;
}

}  // namespace

Decoder::Decoder(const ModelConfig& config,
                 const ShardPlan& plan,
                 const ModelWeights& weights,
                 const DecoderSizes& sizes,
                 kernels::Ops& ops)
    : config_(config),
      weights_(weights),
      shard_(weights.shard),
      tp_size_(plan.tp_size),
      padded_vocab_rows_(plan.padded_vocab_rows),
      sizes_(sizes),
      ops_(ops) {
  gather_rows_.reserve(static_cast<size_t>(sizes.max_logit_rows * tp_size_));
}

Result<std::unique_ptr<Decoder>> Decoder::Create(const ModelConfig& config,
                                                 const ShardPlan& plan,
                                                 const ModelWeights& weights,
                                                 const DecoderSizes& sizes,
                                                 kernels::Ops& ops,
                                                 const std::function<void()>& on_piece) {
  std::unique_ptr<Decoder> decoder(new Decoder(config, plan, weights, sizes, ops));
  const Status status =
      AllocateParts(ops, Parts(config, plan, weights.shard, sizes), &decoder->space_);
  LONGHAND_RETURN_IF_ERROR(status.WithContext("decoder workspace"));
  LONGHAND_RETURN_IF_ERROR(decoder->AllocateKvCache(on_piece).WithContext("KV cache"));
  const RopeFrequencies rope = ComputeRopeFrequencies(config.rope, config.head_dim);
  decoder->attention_scaling_ = rope.attention_scaling;
  LONGHAND_RETURN_IF_ERROR(ops.CopyToDevice(decoder->space_.inv_freq.view.data(),
                                            rope.inv_freq.data(),
                                            rope.inv_freq.size() * sizeof(float)));
  LONGHAND_RETURN_IF_ERROR(ops.Synchronize());
  return decoder;
}

std::vector<WorkspacePart<Decoder::Workspace>> Decoder::Parts(const ModelConfig& config,
                                                              const ShardPlan& plan,
                                                              const RankShard& shard,
                                                              const DecoderSizes& sizes) {
  const int64_t t = sizes.max_tokens;
  const int64_t r = sizes.max_logit_rows;
  const int64_t h = config.hidden_size;
  const int64_t ffn = shard.ffn.size();
  const int64_t query = shard.heads.size() * config.head_dim;
  const int64_t half = config.head_dim / 2;
  const int64_t padded = plan.padded_vocab_rows;
  const int64_t shared_rows = plan.tp_size > 1 ? r : 0;
  const int64_t rounded_rows = sizes.rounded == sizes.activation ? 0 : t;
  // Gathered rows are as long as all padded shards; the last one ends behind the last logit.
  const int64_t logits = r * config.vocab_size + plan.tp_size * padded - config.vocab_size;
  return {
      {&Workspace::residual, sizes.activation, t, h},
      {&Workspace::normed, sizes.activation, t, h},
      {&Workspace::delta, sizes.activation, t, h},
      {&Workspace::qkv, sizes.activation, t, QkvWidth(shard, config)},
      {&Workspace::mid, sizes.activation, t, std::max(query, ffn)},
      {&Workspace::cos, DType::kF32, t, half},
      {&Workspace::sin, DType::kF32, t, half},
      {&Workspace::inv_freq, DType::kF32, half, 1},
      {&Workspace::row_scale, DType::kF32, t, 1},
      {&Workspace::rounded, sizes.rounded, rounded_rows, std::max({h, query, ffn})},
      {&Workspace::rows, DType::kI32, r, 1},
      {&Workspace::sel_residual, sizes.activation, r, h},
      {&Workspace::sel_delta, sizes.activation, r, h},
      {&Workspace::local_logits, DType::kF32, shared_rows, padded},
      {&Workspace::gathered, DType::kF32, shared_rows, plan.tp_size * padded},
      {&Workspace::gather_rows, DType::kI32, shared_rows, plan.tp_size},
      {&Workspace::logits, DType::kF32, logits, 1},
  };
}

int64_t Decoder::WorkspaceBytes(const ModelConfig& config,
                                const ShardPlan& plan,
                                const RankShard& shard,
                                const DecoderSizes& sizes) {
  return SumParts(Parts(config, plan, shard, sizes));
}

Status Decoder::AllocateKvCache(const std::function<void()>& on_piece) {
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    LONGHAND_ASSIGN_OR_RETURN(DeviceTensor layer,
                              AllocateTensor(ops_, sizes_.kv_dtype,
                                             {2, sizes_.num_blocks, sizes_.block_size,
                                              shard_.kv_heads.size(), config_.head_dim}));
    kv_cache_.push_back(std::move(layer));
    DeviceTensor scales;
    if (HasKvScales(sizes_.kv_dtype)) {
      LONGHAND_ASSIGN_OR_RETURN(scales, AllocateTensor(ops_, DType::kF32,
                                                       {2, sizes_.num_blocks, sizes_.block_size,
                                                        shard_.kv_heads.size()}));
    }
    kv_scales_.push_back(std::move(scales));
    if (on_piece) on_piece();
  }
  return OkStatus();
}

Status Decoder::Forward(const DecoderBatch& batch, comm::Communicator& communicator) {
  num_tokens_ = batch.token_ids.dim(0);
  LONGHAND_RETURN_IF_ERROR(Embed(batch, communicator));
  kernels::MropeTableArgs rope{.positions = batch.positions,
                               .inv_freq = Reshape(space_.inv_freq.view, {config_.head_dim / 2}),
                               .attention_scaling = attention_scaling_,
                               .cos = Rows(space_.cos, config_.head_dim / 2),
                               .sin = Rows(space_.sin, config_.head_dim / 2)};
  std::copy_n(config_.rope.mrope_section.begin(), 3, rope.section);
  LONGHAND_RETURN_IF_ERROR(ops_.MropeTable(rope));
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    LONGHAND_RETURN_IF_ERROR(RunLayer(i, batch, communicator));
  }
  return OkStatus();
}

Status Decoder::Embed(const DecoderBatch& batch, comm::Communicator& communicator) {
  const TensorView residual = Rows(space_.residual, config_.hidden_size);
  LONGHAND_RETURN_IF_ERROR(ops_.Embedding({.ids = batch.token_ids,
                                           .table = weights_.embedding.view,
                                           .first_id = shard_.vocab.begin,
                                           .out = residual,
                                           .history = batch.history,
                                           .history_idx = batch.history_idx}));
  // One rank has each row and the others zeros: the sum is exact.
  if (tp_size_ > 1) LONGHAND_RETURN_IF_ERROR(communicator.AllReduceSum(residual));
  if (!batch.image_rows.empty()) {
    const TensorView embeddings =
        Reshape(space_.normed.view, {batch.image_rows.dim(0), config_.hidden_size});
    LONGHAND_RETURN_IF_ERROR(
        ops_.GatherRows({.x = batch.encoder_cache, .rows = batch.cache_rows, .out = embeddings}));
    LONGHAND_RETURN_IF_ERROR(
        ops_.ScatterRows({.x = embeddings, .rows = batch.image_rows, .out = residual}));
  }
  return Observe(observer_, ops_, "lm/embeds", residual);
}

Status Decoder::RunLayer(int64_t layer_idx,
                         const DecoderBatch& batch,
                         comm::Communicator& communicator) {
  const LayerWeights& layer = weights_.layers[layer_idx];
  const TensorView residual = Rows(space_.residual, config_.hidden_size);
  const TensorView delta = Rows(space_.delta, config_.hidden_size);
  if (layer_idx == 0) {
    // Nothing is pending: the residual itself is normed.
    const Operand normed = Normed();
    LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = residual,
                                           .weight = layer.input_norm.view,
                                           .eps = config_.rms_norm_eps,
                                           .out = normed.rows,
                                           .scale = normed.scale}));
  }
  LONGHAND_RETURN_IF_ERROR(Attention(layer_idx, batch));
  LONGHAND_RETURN_IF_ERROR(JoinAndNorm(layer.post_attention_norm, communicator));
  LONGHAND_RETURN_IF_ERROR(Mlp(layer_idx, batch));
  const bool last = layer_idx + 1 == config_.num_layers;
  if (!last && !observer_) {
    return JoinAndNorm(weights_.layers[layer_idx + 1].input_norm, communicator);
  }
  // The last one's norm is of the rows that have logits.
  if (tp_size_ > 1) LONGHAND_RETURN_IF_ERROR(communicator.AllReduceSum(delta));
  if (observer_) {
    LONGHAND_RETURN_IF_ERROR(
        Observe(observer_, ops_, "lm/layer" + std::to_string(layer_idx), residual, delta));
  }
  if (last) return OkStatus();
  const Operand normed = Normed();
  return ops_.RmsNorm({.x = delta,
                       .residual = residual,
                       .weight = weights_.layers[layer_idx + 1].input_norm.view,
                       .eps = config_.rms_norm_eps,
                       .out = normed.rows,
                       .scale = normed.scale});
}

Status Decoder::JoinAndNorm(const DeviceTensor& weight, comm::Communicator& communicator) {
  const TensorView residual = Rows(space_.residual, config_.hidden_size);
  const TensorView delta = Rows(space_.delta, config_.hidden_size);
  const Operand normed = Normed();
  if (tp_size_ > 1) {
    if (communicator.FusesNorm(delta)) {
      return communicator.AllReduceSumNorm({.data = delta,
                                            .residual = residual,
                                            .weight = weight.view,
                                            .eps = config_.rms_norm_eps,
                                            .out = normed.rows,
                                            .scale = normed.scale});
    }
    LONGHAND_RETURN_IF_ERROR(communicator.AllReduceSum(delta));
  }
  return ops_.RmsNorm({.x = delta,
                       .residual = residual,
                       .weight = weight.view,
                       .eps = config_.rms_norm_eps,
                       .out = normed.rows,
                       .scale = normed.scale});
}

Status Decoder::Attention(int64_t layer_idx, const DecoderBatch& batch) {
  const LayerWeights& layer = weights_.layers[layer_idx];
  const int64_t heads = shard_.heads.size();
  const int64_t head_dim = config_.head_dim;
  const TensorView qkv = Rows(space_.qkv, QkvWidth(shard_, config_));
  const TensorView query = Reshape(space_.mid.view, {num_tokens_, heads, head_dim});
  const TensorView attended = Reshape(space_.normed.view, {num_tokens_, heads, head_dim});
  const TensorView delta = Rows(space_.delta, config_.hidden_size);
  LONGHAND_RETURN_IF_ERROR(Project(Normed(), *layer.qkv, qkv));
  LONGHAND_RETURN_IF_ERROR(AddDelta(layer_idx, LayerGroup::kQkv, batch, Normed(), qkv));
  LONGHAND_RETURN_IF_ERROR(ops_.QkvRopeWrite({.qkv = qkv,
                                              .bias = layer.qkv_bias.view,
                                              .cos = Rows(space_.cos, head_dim / 2),
                                              .sin = Rows(space_.sin, head_dim / 2),
                                              .slot_mapping = batch.slot_mapping,
                                              .query = query,
                                              .kv_cache = KvCache(layer_idx),
                                              .kv_scales = KvScales(layer_idx)}));
  LONGHAND_RETURN_IF_ERROR(
      ops_.PagedAttention({.query = query,
                           .kv_cache = KvCache(layer_idx),
                           .block_table = batch.block_table,
                           .cu_query_lens = batch.cu_query_lens,
                           .context_len = batch.context_len,
                           .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
                           .out = attended,
                           .kv_scales = KvScales(layer_idx),
                           .prefix_groups = batch.prefix_groups}));
  LONGHAND_ASSIGN_OR_RETURN(const Operand rounded, Round(Rows(space_.normed, heads * head_dim)));
  LONGHAND_RETURN_IF_ERROR(Project(rounded, *layer.o, delta));
  return AddDelta(layer_idx, LayerGroup::kO, batch, rounded, delta);
}

Status Decoder::Mlp(int64_t layer_idx, const DecoderBatch& batch) {
  const LayerWeights& layer = weights_.layers[layer_idx];
  const int64_t ffn = shard_.ffn.size();
  const TensorView mid = Rows(space_.mid, ffn);
  const TensorView delta = Rows(space_.delta, config_.hidden_size);
  if (batch.adapters.empty()) {
    LONGHAND_RETURN_IF_ERROR(Project(Normed(), *layer.gate_up, mid));
  } else {
    LONGHAND_RETURN_IF_ERROR(adapters_->GateUp(
        DecoderGroup(layer_idx, LayerGroup::kGateUp),
        {.x = Normed().rows, .weight = layer.gate_up.get(), .out = mid, .x_scale = Normed().scale},
        batch.adapters));
  }
  LONGHAND_ASSIGN_OR_RETURN(const Operand rounded, Round(mid));
  LONGHAND_RETURN_IF_ERROR(Project(rounded, *layer.down, delta));
  return AddDelta(layer_idx, LayerGroup::kDown, batch, rounded, delta);
}

// Of a sum that ranks share each adds its part: B is whole, and A has the columns of the rank's x.
Status Decoder::AddDelta(int64_t layer_idx,
                         LayerGroup group,
                         const DecoderBatch& batch,
                         const Operand& x,
                         TensorView y) {
  if (batch.adapters.empty()) return OkStatus();
  return adapters_->AddDelta(DecoderGroup(layer_idx, group), x.rows, x.scale, batch.adapters, y);
}

Decoder::Operand Decoder::OperandOf(TensorView rows) const {
  if (!weights_.rounds_rows) return {rows, {}};
  const TensorView codes = space_.rounded.view;
  return {codes.empty() ? rows : Reshape(codes, {num_tokens_, rows.dim(1)}),
          Reshape(space_.row_scale.view, {num_tokens_})};
}

Result<Decoder::Operand> Decoder::Round(TensorView rows) {
  const Operand rounded = OperandOf(rows);
  if (weights_.rounds_rows) {
    LONGHAND_RETURN_IF_ERROR(
        ops_.QuantizeRows({.x = rows, .out = rounded.rows, .scale = rounded.scale}));
  }
  return rounded;
}

Status Decoder::Project(const Operand& x, const kernels::PackedLinear& weight, TensorView out) {
  return ops_.Linear({.x = x.rows, .weight = &weight, .out = out, .x_scale = x.scale});
}

Result<kernels::VocabShard> Decoder::Logits(const std::vector<int32_t>& rows) {
  const auto num_rows = static_cast<int64_t>(rows.size());
  LONGHAND_CHECK(num_rows > 0 && num_rows <= sizes_.max_logit_rows) << num_rows;
  const TensorView row_ids = Reshape(space_.rows.view, {num_rows});
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(row_ids.data(), rows.data(), row_ids.num_bytes()));
  const TensorView residual = Reshape(space_.sel_residual.view, {num_rows, config_.hidden_size});
  const TensorView delta = Reshape(space_.sel_delta.view, {num_rows, config_.hidden_size});
  LONGHAND_RETURN_IF_ERROR(ops_.GatherRows(
      {.x = Rows(space_.residual, config_.hidden_size), .rows = row_ids, .out = residual}));
  LONGHAND_RETURN_IF_ERROR(ops_.GatherRows(
      {.x = Rows(space_.delta, config_.hidden_size), .rows = row_ids, .out = delta}));
  return FinishLogits(residual, delta);
}

Result<kernels::VocabShard> Decoder::LogitsOfAll() {
  LONGHAND_CHECK(num_tokens_ <= sizes_.max_logit_rows) << num_tokens_;
  return FinishLogits(Rows(space_.residual, config_.hidden_size),
                      Rows(space_.delta, config_.hidden_size));
}

Result<kernels::VocabShard> Decoder::FinishLogits(TensorView residual, TensorView delta) {
  const int64_t num_rows = delta.dim(0);
  LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = delta,
                                         .residual = residual,
                                         .weight = weights_.final_norm.view,
                                         .eps = config_.rms_norm_eps,
                                         .out = delta}));
  LONGHAND_RETURN_IF_ERROR(Observe(observer_, ops_, "lm/final_norm", delta));
  const TensorView logits = Reshape(tp_size_ > 1 ? space_.local_logits.view : space_.logits.view,
                                    {num_rows, padded_vocab_rows_});
  LONGHAND_RETURN_IF_ERROR(ops_.Linear({.x = delta, .weight = weights_.head.get(), .out = logits}));
  return kernels::VocabShard{.logits = logits,
                             .first_id = shard_.vocab.begin,
                             .num_ids = shard_.vocab.size(),
                             .vocab_size = config_.vocab_size};
}

Result<TensorView> Decoder::GatherLogits(const kernels::VocabShard& shard,
                                         comm::Communicator& communicator) {
  const int64_t num_rows = shard.logits.dim(0);
  if (tp_size_ > 1) {
    LONGHAND_RETURN_IF_ERROR(GathersByRow(num_rows) ? GatherRowByRow(shard.logits, communicator)
                                                    : GatherSorted(shard.logits, communicator));
  }
  const TensorView logits = Reshape(space_.logits.view, {num_rows, config_.vocab_size});
  LONGHAND_RETURN_IF_ERROR(Observe(observer_, ops_, "lm/logits", logits));
  return logits;
}

// The padding at the end of a row is overwritten by the next one.
Status Decoder::GatherRowByRow(TensorView local, comm::Communicator& communicator) {
  for (int64_t row = 0; row < local.dim(0); ++row) {
    auto* to = space_.logits.view.as<float>() + row * config_.vocab_size;
    LONGHAND_RETURN_IF_ERROR(communicator.AllGather(
        local.Slice(row, 1), TensorView(to, DType::kF32, {tp_size_, 1, padded_vocab_rows_})));
  }
  return OkStatus();
}

Status Decoder::GatherSorted(TensorView local, comm::Communicator& communicator) {
  const int64_t num_rows = local.dim(0);
  const TensorView row_ids = Reshape(space_.gather_rows.view, {tp_size_ * num_rows});
  if (static_cast<int64_t>(gather_rows_.size()) != tp_size_ * num_rows) {
    // Those of the call before may still be on their way.
    LONGHAND_RETURN_IF_ERROR(communicator.Synchronize());
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    gather_rows_.clear();
    for (int64_t row = 0; row < num_rows; ++row) {
      for (int64_t rank = 0; rank < tp_size_; ++rank) {
        gather_rows_.push_back(static_cast<int32_t>(rank * num_rows + row));
      }
    }
    LONGHAND_RETURN_IF_ERROR(
        ops_.CopyToDevice(row_ids.data(), gather_rows_.data(), row_ids.num_bytes()));
  }
  const TensorView gathered =
      Reshape(space_.gathered.view, {tp_size_ * num_rows, padded_vocab_rows_});
  LONGHAND_RETURN_IF_ERROR(communicator.AllGather(local, gathered));
  return ops_.GatherRows(
      {.x = gathered,
       .rows = row_ids,
       .out = Reshape(space_.logits.view, {tp_size_ * num_rows, padded_vocab_rows_})});
}

}  // namespace longhand::model
