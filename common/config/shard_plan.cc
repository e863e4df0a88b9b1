#include "common/config/shard_plan.h"

#include <algorithm>

#include "common/kv_dtype.h"

namespace longhand {
namespace {

constexpr int64_t kF32Bytes = 4;

Status CheckDivisible(const ModelConfig& config, int32_t tp_size) {
  if (tp_size < 1) {
    return InvalidArgument("tensor_parallel_size is ", tp_size, "; it must be at least 1");
  }
  const auto refuse = [tp_size](std::string_view what, int64_t count, std::string_view field) {
    return InvalidArgument("tensor_parallel_size ", tp_size, " cannot split this model: ", count,
                           " ", what, " (", field, ") are not divisible by ", tp_size);
  };
  if (config.num_heads % tp_size != 0) {
    return refuse("attention heads", config.num_heads, "num_attention_heads");
  }
  if (config.intermediate_size % tp_size != 0) {
    return refuse("MLP columns", config.intermediate_size, "intermediate_size");
  }
  const int64_t kv_heads = config.num_kv_heads;
  if (kv_heads % tp_size != 0 && tp_size % kv_heads != 0) {
    return InvalidArgument("tensor_parallel_size ", tp_size, " cannot split this model: ", kv_heads,
                           " KV heads (num_key_value_heads) are neither divisible by ", tp_size,
                           " nor can each be given to the same number of ranks");
  }
  const int64_t rows = (config.vocab_size + tp_size - 1) / tp_size;
  if (rows * (tp_size - 1) >= config.vocab_size) {
    return InvalidArgument("tensor_parallel_size ", tp_size,
                           " cannot split this model: ", config.vocab_size,
                           " vocabulary rows leave a rank without any");
  }
  return OkStatus();
}

// A matrix that is kept so: out_features x the rank's part of its inputs.
int64_t MatrixBytes(int64_t out_features,
                    const IndexRange& columns,
                    int64_t element_bytes,
                    Quantization quantization,
                    int64_t group_size) {
  const int64_t elements = out_features * columns.size();
  switch (quantization) {
    case Quantization::kNone:
      return elements * element_bytes;
    case Quantization::kInt8:
      return elements + out_features * ((columns.size() + kInt8GroupSize - 1) / kInt8GroupSize) * 2;
    case Quantization::kFp8:
      return elements + out_features * kF32Bytes;
    case Quantization::kAwq:
      break;
  }
  const int64_t groups = elements / ShardGroupSize(columns, group_size);
  return elements / 2 + groups * 2 + (groups + 1) / 2;
}

Status CheckGroups(const ModelConfig& config, const RankShard& shard, int32_t tp_size) {
  const int64_t group_size = config.quantization.group_size;
  const struct {
    const char* what;
    int64_t size;
    int64_t multiple;
  } inputs[] = {
      {"hidden_size", config.hidden_size, group_size},
      {"attention inputs of o_proj on each rank", shard.heads.size() * config.head_dim, kHalfGroup},
      {"MLP columns on each rank", shard.ffn.size(), kHalfGroup}};
  for (const auto& input : inputs) {
    if (input.size % input.multiple == 0) continue;
    return InvalidArgument("tensor_parallel_size ", tp_size,
                           " cannot split this AWQ model: ", input.size, " ", input.what,
                           " are no multiple of ", input.multiple);
  }
  return OkStatus();
}

IndexRange Part(int64_t count, int32_t tp_size, int32_t rank) {
  return {count / tp_size * rank, count / tp_size * (rank + 1)};
}

int64_t TextWeightBytes(const ModelConfig& config,
                        const RankShard& shard,
                        int64_t padded_rows,
                        int64_t element_bytes,
                        Quantization quantization) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = shard.heads.size() * config.head_dim;
  const int64_t qkv = query + 2 * shard.kv_heads.size() * config.head_dim;
  const auto matrix = [&](int64_t out_features, const IndexRange& columns) {
    return MatrixBytes(out_features, columns, element_bytes, quantization,
                       config.quantization.group_size);
  };
  const IndexRange heads = {shard.heads.begin * config.head_dim, shard.heads.end * config.head_dim};
  const int64_t layer_matrices = matrix(qkv, {0, hidden}) + matrix(hidden, heads) +
                                 matrix(2 * shard.ffn.size(), {0, hidden}) +
                                 matrix(hidden, shard.ffn);
  const int64_t layer_vectors = qkv + 2 * hidden;
  const int64_t head = QuantizesHeadAndEncoder(quantization) ? matrix(padded_rows, {0, hidden})
                                                             : padded_rows * hidden * element_bytes;
  return config.num_layers * (layer_matrices + layer_vectors * kF32Bytes) +
         shard.vocab.size() * hidden * element_bytes + head + hidden * kF32Bytes;
}

int64_t VisionWeightBytes(const VisionConfig& vision,
                          int64_t element_bytes,
                          Quantization quantization) {
  if (!QuantizesHeadAndEncoder(quantization)) quantization = Quantization::kNone;
  const auto matrix = [&](int64_t out_features, int64_t in_features) {
    return MatrixBytes(out_features, {0, in_features}, element_bytes, quantization, 0);
  };
  const int64_t hidden = vision.hidden_size;
  const int64_t ffn = vision.padded_intermediate_size();
  const int64_t merged = hidden * vision.patches_per_token();
  const int64_t block_matrices = matrix(3 * hidden, hidden) + matrix(hidden, hidden) +
                                 matrix(2 * ffn, hidden) + matrix(hidden, ffn);
  const int64_t block_vectors = 2 * hidden + 3 * hidden + hidden + 2 * ffn + hidden;
  const int64_t merger_matrices = matrix(merged, merged) + matrix(vision.out_hidden_size, merged);
  const int64_t merger_vectors = hidden + merged + vision.out_hidden_size;
  const int64_t vectors = vision.depth * block_vectors + merger_vectors;
  return vision.depth * block_matrices + merger_matrices +
         hidden * vision.patch_dim() * element_bytes + vectors * kF32Bytes;
}

}  // namespace

DType WeightDType(DType on_disk, DType model_dtype) {
  return model_dtype == DType::kBf16 || on_disk == DType::kBf16 ? DType::kBf16 : DType::kF32;
}

int64_t ShardPlan::KvTokens(int64_t kv_cache_bytes, int64_t block_size) const {
  int64_t blocks = INT64_MAX;
  for (const RankShard& shard : ranks) {
    blocks = std::min(blocks, kv_cache_bytes / (shard.kv_bytes_per_token * block_size));
  }
  return ranks.empty() ? 0 : std::max<int64_t>(blocks, 0) * block_size;
}

Result<ShardPlan> PlanShards(const ModelConfig& config,
                             int32_t tp_size,
                             DType weight_dtype,
                             DType kv_dtype,
                             Quantization quantization) {
  LONGHAND_RETURN_IF_ERROR(CheckDivisible(config, tp_size));
  const auto weight_bytes = static_cast<int64_t>(DTypeSize(weight_dtype));
  ShardPlan plan;
  plan.tp_size = tp_size;
  plan.weight_dtype = weight_dtype;
  plan.padded_vocab_rows = (config.vocab_size + tp_size - 1) / tp_size;
  for (int32_t rank = 0; rank < tp_size; ++rank) {
    RankShard shard;
    shard.rank = rank;
    shard.heads = Part(config.num_heads, tp_size, rank);
    if (tp_size <= config.num_kv_heads) {
      shard.kv_heads = Part(config.num_kv_heads, tp_size, rank);
    } else {
      const int64_t head = rank / (tp_size / config.num_kv_heads);
      shard.kv_heads = {head, head + 1};
    }
    shard.ffn = Part(config.intermediate_size, tp_size, rank);
    shard.vocab = {plan.padded_vocab_rows * rank,
                   std::min(plan.padded_vocab_rows * (rank + 1), config.vocab_size)};
    if (quantization == Quantization::kAwq) {
      LONGHAND_RETURN_IF_ERROR(CheckGroups(config, shard, tp_size));
    }
    shard.text_weight_bytes =
        TextWeightBytes(config, shard, plan.padded_vocab_rows, weight_bytes, quantization);
    shard.vision_weight_bytes = VisionWeightBytes(config.vision, weight_bytes, quantization);
    shard.weight_bytes = shard.text_weight_bytes + shard.vision_weight_bytes;
    shard.kv_bytes_per_token =
        config.num_layers * 2 * shard.kv_heads.size() * KvRowBytes(kv_dtype, config.head_dim);
    plan.ranks.push_back(shard);
  }
  return plan;
}

}  // namespace longhand
