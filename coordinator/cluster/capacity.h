// Capacity: the sizes that a worker group is configured with, from the options, the model and the
// memory at hand.
#pragma once

#include <cstdint>
#include <string>

#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "common/options/serve_options.h"
#include "common/status.h"

namespace longhand::cluster {

struct Capacity {
  DType dtype = DType::kBf16;
  DType kv_dtype = DType::kBf16;
  Quantization quantization = Quantization::kNone;
  ShardPlan shards;
  int64_t num_blocks = 0;       // KV blocks of each rank
  int64_t num_host_blocks = 0;  // the same in host memory
  int64_t block_size = 16;      // tokens
  int64_t max_model_len = 0;
  int64_t encoder_cache_tokens = 0;   // rows of the encoder cache
  int64_t max_patches_per_image = 0;  // ViT workspace
  int64_t image_bytes = 0;            // resized pixels that a worker holds at once

  int64_t kv_tokens() const { return num_blocks * block_size; }
  int64_t kv_cache_bytes(int rank) const {
    return kv_tokens() * shards.ranks[static_cast<size_t>(rank)].kv_bytes_per_token;
  }
};

// What the options and the model alone decide: dtypes and shards. kInvalidArgument when the model
// cannot be split so.
Result<Capacity> PlanShape(const ServeOptions& options, const ModelConfig& model);

// Adds what depends on memory. `max_pixels` bounds a resized picture; `memory_bytes` is what one
// rank may take, weights included; `host_memory_bytes` of host memory, where its own is a GPU's.
// kResourceExhausted, with the numbers, when weights, --swap-space or --max-model-len do not fit.
Result<Capacity> PlanCapacity(const ServeOptions& options,
                              const ModelConfig& model,
                              int64_t max_pixels,
                              int64_t memory_bytes,
                              int64_t host_memory_bytes);

// Of `num_groups` groups alike, for people (a table) and for machines (one object, with all ranks,
// and tokens of one group).
std::string CapacityTable(const Capacity& capacity, const ModelConfig& model, int num_groups);
std::string CapacityJson(const Capacity& capacity, int num_groups);

}  // namespace longhand::cluster
