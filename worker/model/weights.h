// ModelWeights: one rank's weights in an Ops' memory, and how they are loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/config/model_config.h"
#include "common/config/quantization.h"
#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/checkpoint.h"
#include "worker/model/device_tensor.h"
#include "worker/model/weight_reader.h"
#include "worker/model/weight_source.h"

namespace longhand::model {

// Sizes are the rank's own: H heads, K KV heads, F ffn columns; D = head_dim.
struct LayerWeights {
  DeviceTensor input_norm;                         // [hidden] f32
  std::unique_ptr<kernels::PackedLinear> qkv;      // [(H + 2 K) D, hidden]: query, key, value
  DeviceTensor qkv_bias;                           // [(H + 2 K) D] f32
  std::unique_ptr<kernels::PackedLinear> o;        // [hidden, H D]: a partial sum
  DeviceTensor post_attention_norm;                // [hidden] f32
  std::unique_ptr<kernels::PackedLinear> gate_up;  // [2 F, hidden]: gate, up (kGateUp)
  std::unique_ptr<kernels::PackedLinear> down;     // [hidden, F]: a partial sum
};

struct BiasedLinear {
  std::unique_ptr<kernels::PackedLinear> weight;
  DeviceTensor bias;  // [out_features] f32
};

struct VisionBlockWeights {
  DeviceTensor norm1;    // [hidden] f32
  DeviceTensor norm2;    // [hidden] f32
  BiasedLinear qkv;      // [3 hidden, hidden]
  BiasedLinear proj;     // [hidden, hidden]
  BiasedLinear gate_up;  // [2 ffn, hidden] (kGateUp); ffn is padded with zeros (padded_intermediate_size)
  BiasedLinear down;     // [hidden, ffn]
};

struct VisionWeights {
  std::unique_ptr<kernels::PackedLinear> patch_embed;  // [hidden, patch_dim]
  std::vector<VisionBlockWeights> blocks;
  DeviceTensor merger_norm;  // [hidden] f32
  BiasedLinear merger_fc1;   // [4 hidden, 4 hidden]
  BiasedLinear merger_fc2;   // [out_hidden, 4 hidden]
};

struct ModelWeights {
  RankShard shard;
  DeviceTensor embedding;  // [vocab rows of the shard, hidden] in the weight dtype
  std::vector<LayerWeights> layers;
  DeviceTensor final_norm;                      // [hidden] f32
  std::unique_ptr<kernels::PackedLinear> head;  // [padded_vocab_rows, hidden]
  VisionWeights vision;
  int64_t bytes = 0;
  // The layers' matrices are multiplied with rows that are rounded as they are (QuantizeRows).
  bool rounds_rows = false;
};

// The shard of `rank`, from any source.
Result<ModelWeights> ReadWeights(WeightSource& source,
                                 const ModelConfig& config,
                                 const ShardPlan& plan,
                                 int32_t rank);

// The dtype of this checkpoint's matrices in memory: bf16 when all of them are so on disk, or when
// `model_dtype` is.
DType WeightDTypeOf(const Checkpoint& checkpoint, DType model_dtype);

// Loads the shard of `rank`; the model is never in memory a second time. `num_threads` quantise.
// kInvalidArgument when the checkpoint does not fit the configuration, kResourceExhausted when
// memory is short.
Result<ModelWeights> LoadWeights(const Checkpoint& checkpoint,
                                 const ModelConfig& config,
                                 int32_t tp_size,
                                 int32_t rank,
                                 DType model_dtype,
                                 Quantization quantization,
                                 kernels::Ops& ops,
                                 const LoadProgress& progress,
                                 int num_threads = 1);

}  // namespace longhand::model
