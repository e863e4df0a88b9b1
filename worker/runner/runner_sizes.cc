#include "worker/runner/runner_sizes.h"

#include <algorithm>
#include <string>

namespace longhand::runner {
namespace {

// Scoring a prompt needs logits of all its rows; fewer at once would be many collectives.
constexpr int64_t kMinLogitRows = 16;

Status CheckKvDType(DType kv, const kernels::Ops& ops) {
  if (ops.HasKvDType(kv)) return OkStatus();
  std::string has;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kI8, DType::kF8E4M3}) {
    if (!ops.HasKvDType(dtype)) continue;
    if (!has.empty()) has += ", ";
    has += DTypeName(dtype);
  }
  return InvalidArgument("the KV cache's dtype is ", DTypeName(kv), "; backend ", ops.name(),
                         " has ", has);
}

}  // namespace

Status CheckConfig(const RunnerConfig& config, const kernels::Ops& ops) {
  const struct {
    const char* name;
    int64_t value;
    int64_t min;
    int64_t max;
  } numbers[] = {
      {"num_blocks", config.num_blocks, 1, INT32_MAX},
      {"num_host_blocks", config.num_host_blocks, 0, INT32_MAX},
      {"block_size", config.block_size, 1, 256},
      {"max_num_batched_tokens", config.max_num_batched_tokens, 1, 1 << 20},
      {"max_num_seqs", config.max_num_seqs, 1, config.max_num_batched_tokens},
      {"max_model_len", config.max_model_len, 1, config.model.max_position_embeddings},
      {"encoder_cache_tokens", config.encoder_cache_tokens, 0, INT32_MAX},
      {"image_bytes", config.image_bytes, 0, INT64_MAX},
      {"max_patches_per_image", config.max_patches_per_image, 0, 1 << 24},
      {"max_loras", config.max_loras, 0, 1 << 10},
      {"max_lora_rank", config.max_lora_rank, config.max_loras > 0 ? 1 : 0, kernels::kMaxLoraRank},
  };
  for (const auto& number : numbers) {
    if (number.value >= number.min && number.value <= number.max) continue;
    return InvalidArgument(number.name, " is ", number.value, "; it must be from ", number.min,
                           " to ", number.max);
  }
  if (config.dtype != DType::kF32 && config.dtype != DType::kBf16) {
    return InvalidArgument("the dtype is ", DTypeName(config.dtype),
                           "; it must be float32 or bfloat16");
  }
  return CheckKvDType(config.kv_dtype, ops);
}

int64_t MaxLogitRows(const RunnerConfig& config) {
  return std::max(config.max_num_seqs, kMinLogitRows);
}

PlanLimits LimitsOf(const RunnerConfig& config, int32_t tp_size) {
  return {.num_blocks = config.num_blocks,
          .num_host_blocks = config.num_host_blocks,
          .block_size = config.block_size,
          .max_num_batched_tokens = config.max_num_batched_tokens,
          .max_num_seqs = config.max_num_seqs,
          .max_model_len = config.max_model_len,
          .vocab_size = config.model.vocab_size,
          .encoder_cache_tokens = config.encoder_cache_tokens,
          .vision_depth = static_cast<int32_t>(config.model.vision.depth),
          .tp_size = tp_size,
          .max_loras = config.max_loras};
}

model::AdapterSizes AdapterSizesOf(const RunnerConfig& config, const kernels::Ops& ops) {
  return {.num_slots = config.max_loras,
          .max_rank = config.max_lora_rank,
          .max_tokens = config.max_num_batched_tokens,
          .max_patches = config.encoder_cache_tokens > 0 ? config.max_patches_per_image : 0,
          .weight = config.dtype,
          .activation = ops.ActivationDType(config.dtype)};
}

model::DecoderSizes SizesOf(const RunnerConfig& config, const kernels::Ops& ops) {
  const DType activation = ops.ActivationDType(config.dtype);
  const bool rounds_rows = config.quantization == Quantization::kFp8;
  return {.max_tokens = config.max_num_batched_tokens,
          .max_logit_rows = MaxLogitRows(config),
          .num_blocks = config.num_blocks,
          .block_size = config.block_size,
          .activation = activation,
          .kv_dtype = config.kv_dtype,
          .rounded = rounds_rows ? ops.RoundedDType(activation) : activation};
}

kernels::StepSizes StepSizesOf(const RunnerConfig& config,
                               const RankShard& shard,
                               const model::PackedWeights& weights) {
  kernels::StepSizes sizes{.max_num_seqs = config.max_num_seqs,
                           .max_model_len = config.max_model_len,
                           .block_size = config.block_size,
                           .num_heads = shard.heads.size(),
                           .num_kv_heads = shard.kv_heads.size(),
                           .head_dim = config.model.head_dim,
                           .vocab_size = config.model.vocab_size,
                           .max_in_features = weights.max_in_features,
                           .has_fp8_weights = config.quantization == Quantization::kFp8};
  if (config.dtype == DType::kBf16 && config.quantization == Quantization::kNone) {
    const int64_t query = sizes.num_heads * sizes.head_dim;
    sizes.max_gate_up_features = 2 * shard.ffn.size();
    sizes.max_weight_elements =
        config.model.hidden_size *
        std::max(query + 2 * sizes.num_kv_heads * sizes.head_dim, sizes.max_gate_up_features);
  }
  return sizes;
}

size_t LargestExchangeBytes(const RunnerConfig& config, const kernels::Ops& ops) {
  const size_t sum =
      static_cast<size_t>(config.model.hidden_size) * DTypeSize(ops.ActivationDType(config.dtype));
  const size_t words = kernels::kShardWords * sizeof(int64_t);
  // Decode steps are padded, to less than twice as many sequences.
  return 2 * static_cast<size_t>(config.max_num_seqs) * std::max(sum, words);
}

}  // namespace longhand::runner
