// ShardPlan: which part of the model each tensor-parallel rank holds, and how many bytes that is.
//
// A pure function of the configuration: the coordinator prints it (--dry-run) without a checkpoint,
// and the worker loads by it. Query heads, ffn columns and vocabulary rows are split in rank order;
// KV heads are split, or replicated when there are more ranks than KV heads. The image encoder is
// whole on every rank: ranks share it by image.
#pragma once

#include <cstdint>
#include <vector>

#include "common/config/index_range.h"
#include "common/config/model_config.h"
#include "common/config/quantization.h"
#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand {

struct RankShard {
  int32_t rank = 0;
  IndexRange heads;
  IndexRange kv_heads;  // several ranks have the same ones when TP exceeds them
  IndexRange ffn;       // columns of gate and up, rows of down
  IndexRange vocab;     // rows of embedding and head; the last rank may have fewer
  int64_t text_weight_bytes = 0;
  int64_t vision_weight_bytes = 0;
  int64_t weight_bytes = 0;  // both; matrices in weight_dtype, biases and norms in f32, codes as such
  int64_t kv_bytes_per_token = 0;  // with the scales of a cache in 8 bits
};

struct ShardPlan {
  int32_t tp_size = 1;
  DType weight_dtype = DType::kBf16;
  // Rows of the head on every rank, zeros past the rank's own: gathered logits then have the
  // vocabulary in order, with the padding behind it.
  int64_t padded_vocab_rows = 0;
  std::vector<RankShard> ranks;

  // Tokens whose keys and values fit into `kv_cache_bytes` on every rank, in whole blocks.
  int64_t KvTokens(int64_t kv_cache_bytes, int64_t block_size) const;
};

// The dtype in which matrices are kept in memory. --dtype bfloat16 rounds; --dtype float32 keeps
// bf16 as it is on disk, which is exact in f32 arithmetic, and widens the rest.
DType WeightDType(DType on_disk, DType model_dtype);

// kInvalidArgument with the numbers when the model cannot be split so.
Result<ShardPlan> PlanShards(const ModelConfig& config,
                             int32_t tp_size,
                             DType weight_dtype,
                             DType kv_dtype,
                             Quantization quantization = Quantization::kNone);

}  // namespace longhand
