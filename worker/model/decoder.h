// Decoder: the language model of one rank, over Ops and Communicator only.
//
// Heads, ffn columns and vocabulary rows are this rank's; two all-reduces a layer join the partial
// sums, so that the residual stream has the same bits on every rank. Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/adapters.h"
#include "worker/model/device_tensor.h"
#include "worker/model/observer.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace longhand::model {

// One step's tokens, on the device. T tokens, S sequences, M tokens that stand for image units.
struct DecoderBatch {
  TensorView token_ids;      // [T] i32
  TensorView history;        // [N, L] i32, of tokens that token_ids need not have: EmbeddingArgs
  TensorView history_idx;    // [T] i64
  TensorView positions;      // [T, 3] i32
  TensorView slot_mapping;   // [T] i64
  TensorView block_table;    // [S, max_blocks] i32
  TensorView cu_query_lens;  // [S + 1] i32
  TensorView context_len;    // [S] i32
  TensorView prefix_groups;  // [S, 4] i32, or empty: kernels/ops.h
  TensorView image_rows;     // [M] i32: tokens that take an image embedding, or empty
  TensorView cache_rows;     // [M] i32: which row of the encoder cache each takes, or empty
  TensorView encoder_cache;  // [rows, hidden] A
  TensorView adapters = {};  // [T] i32: slot of each token's adapter, or -1; empty: none has one
};

struct DecoderSizes {
  int64_t max_tokens = 0;      // T
  int64_t max_logit_rows = 0;  // of one call of Logits()
  int64_t num_blocks = 0;
  int64_t block_size = 0;
  DType activation = DType::kF32;
  DType kv_dtype = DType::kF32;
  DType rounded = DType::kF32;  // rows times fp8 weights (Ops::RoundedDType); else as `activation`
};

class Decoder {
 public:
  // All memory, the KV cache included, is taken here, which may take long; `on_piece`, if there is
  // one, is called with each layer's cache. Weights and Ops must outlive the decoder.
  static Result<std::unique_ptr<Decoder>> Create(const ModelConfig& config,
                                                 const ShardPlan& plan,
                                                 const ModelWeights& weights,
                                                 const DecoderSizes& sizes,
                                                 kernels::Ops& ops,
                                                 const std::function<void()>& on_piece);
  static int64_t WorkspaceBytes(const ModelConfig& config,
                                const ShardPlan& plan,
                                const RankShard& shard,
                                const DecoderSizes& sizes);

  // Runs all layers over the batch and keeps the last hidden states for Logits().
  Status Forward(const DecoderBatch& batch, comm::Communicator& communicator);
  // This rank's logits after the tokens at `rows` (host, within the last batch, at most
  // max_logit_rows); valid until the next call.
  Result<kernels::VocabShard> Logits(const std::vector<int32_t>& rows);
  // The same after each token of the last batch, in place: Forward() must come before the next
  // call. With Forward() before it these are operations and collectives alone, and can be recorded.
  Result<kernels::VocabShard> LogitsOfAll();
  // All ranks' logits, of the rows that `shard` has, on every rank: [rows, vocab_size] f32.
  Result<TensorView> GatherLogits(const kernels::VocabShard& shard,
                                  comm::Communicator& communicator);

  // Where batches name adapters; they must outlive the decoder.
  void SetAdapters(const Adapters* adapters) { adapters_ = adapters; }
  void SetObserver(Observer observer) { observer_ = std::move(observer); }
  TensorView KvCache(int64_t layer_idx) const { return kv_cache_[layer_idx].view; }
  // Empty where the cache has none.
  TensorView KvScales(int64_t layer_idx) const { return kv_scales_[layer_idx].view; }

 private:
  // T = max_tokens, R = max_logit_rows, h = hidden, V = padded_vocab_rows, A = activation dtype.
  struct Workspace {
    DeviceTensor residual;      // [T, h] A
    DeviceTensor normed;        // [T, h] A: also attention's output and gathered embeddings
    DeviceTensor delta;         // [T, h] A: the branch not yet added to the residual
    DeviceTensor qkv;           // [T, (H + 2 K) D] A
    DeviceTensor mid;           // [T, max(query, ffn)] A
    DeviceTensor cos;           // [T, D / 2] f32
    DeviceTensor sin;           // [T, D / 2] f32
    DeviceTensor inv_freq;      // [D / 2] f32
    DeviceTensor row_scale;     // [T] f32: of rows that are rounded
    DeviceTensor rounded;       // [T, max(h, query, ffn)]: nothing where they are rounded in place
    DeviceTensor rows;          // [R] i32
    DeviceTensor sel_residual;  // [R, h] A
    DeviceTensor sel_delta;     // [R, h] A
    DeviceTensor local_logits;  // [R, V] f32; nothing at TP 1
    DeviceTensor gathered;      // [TP, R, V] f32; nothing at TP 1
    DeviceTensor gather_rows;   // [R * TP] i32; nothing at TP 1
    DeviceTensor logits;        // [R, vocab_size] f32, and room for the padding behind the last row
  };

  Decoder(const ModelConfig& config,
          const ShardPlan& plan,
          const ModelWeights& weights,
          const DecoderSizes& sizes,
          kernels::Ops& ops);

  static std::vector<WorkspacePart<Workspace>> Parts(const ModelConfig& config,
                                                     const ShardPlan& plan,
                                                     const RankShard& shard,
                                                     const DecoderSizes& sizes);
  Status AllocateKvCache(const std::function<void()>& on_piece);
  Status Embed(const DecoderBatch& batch, comm::Communicator& communicator);
  Status RunLayer(int64_t layer_idx, const DecoderBatch& batch, comm::Communicator& communicator);
  // These leave this rank's part of a sum in delta.
  Status Attention(int64_t layer_idx, const DecoderBatch& batch);
  Status Mlp(int64_t layer_idx, const DecoderBatch& batch);
  // Adds up the ranks' delta, adds that to the residual, and norms it, into Normed().
  Status JoinAndNorm(const DeviceTensor& weight, comm::Communicator& communicator);
  // What a layer's matrix is multiplied by: rows, rounded where the weights ask for it.
  struct Operand {
    TensorView rows;
    TensorView scale;  // of rounded rows; else empty
  };
  // Where the operand goes that is made of `rows`: perhaps there.
  Operand OperandOf(TensorView rows) const;
  Operand Normed() const { return OperandOf(Rows(space_.normed, config_.hidden_size)); }
  // Of rows that are not rounded yet.
  Result<Operand> Round(TensorView rows);
  Status Project(const Operand& x, const kernels::PackedLinear& weight, TensorView out);
  // Of the layer's adapters, where the batch has any.
  Status AddDelta(int64_t layer_idx,
                  LayerGroup group,
                  const DecoderBatch& batch,
                  const Operand& x,
                  TensorView y);
  Result<kernels::VocabShard> FinishLogits(TensorView residual, TensorView delta);
  // Whether rows are gathered one by one, where padding or a single row spares sorting them.
  bool GathersByRow(int64_t num_rows) const {
    return num_rows == 1 || tp_size_ * padded_vocab_rows_ != config_.vocab_size;
  }
  Status GatherRowByRow(TensorView local, comm::Communicator& communicator);
  Status GatherSorted(TensorView local, comm::Communicator& communicator);
  TensorView Rows(const DeviceTensor& tensor, int64_t width) const {
    return Reshape(tensor.view, {num_tokens_, width});
  }

  const ModelConfig config_;
  const ModelWeights& weights_;
  const RankShard& shard_;
  const int64_t tp_size_;
  const int64_t padded_vocab_rows_;
  const DecoderSizes sizes_;
  kernels::Ops& ops_;
  Observer observer_;
  const Adapters* adapters_ = nullptr;
  float attention_scaling_ = 1.0f;
  Workspace space_;
  std::vector<DeviceTensor> kv_cache_;   // a layer: [2, num_blocks, block_size, K, D] KV
  std::vector<DeviceTensor> kv_scales_;  // a layer: [2, num_blocks, block_size, K] f32, in 8 bits
  int64_t num_tokens_ = 0;               // of the last batch
  std::vector<int32_t> gather_rows_;     // what is on the device, or on its way there
};

}  // namespace longhand::model
