#include "coordinator/cluster/capacity.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "common/adapter/adapter_targets.h"

namespace longhand::cluster {
namespace {

// Tokens that the default cache of a host holds at most, unless one context is longer.
constexpr int64_t kDefaultKvTokens = 256 * 1024;

DType ParseDType(const std::string& name, DType when_auto) {
  if (name == "float32") return DType::kF32;
  if (name == "bfloat16") return DType::kBf16;
  if (name == "int8") return DType::kI8;
  if (name == "fp8") return DType::kF8E4M3;
  return when_auto;
}

std::string Gib(int64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

// Attention in bf16 is compiled for these on GPUs. Without this an image encoder of others would be
// found out by the first picture.
Status CheckHeadSizes(const std::string& device, DType dtype, const ModelConfig& model) {
  if (!RunsCudaSources(device) || dtype != DType::kBf16) return OkStatus();
  for (const int64_t size : {model.head_dim, model.vision.head_dim()}) {
    if (size == 16 || size == 32 || size == 64 || size == 80 || size == 128) continue;
    return Unimplemented(size == model.head_dim ? "heads" : "the image encoder's heads", " have ",
                         size, " elements; in bfloat16 on --device ", device,
                         " they may have 16, 32, 64, 80 or 128");
  }
  return OkStatus();
}

int64_t LargestRank(const ShardPlan& shards, int64_t RankShard::* field) {
  int64_t largest = 0;
  for (const RankShard& rank : shards.ranks) largest = std::max(largest, rank.*field);
  return largest;
}

// As much as the sequences can use, and at most a quarter of what the weights leave: on a host,
// others need memory too. A GPU is the worker's own: three quarters, and activations take the rest.
int64_t ChooseKvBytes(const ServeOptions& options,
                      const ModelConfig& model,
                      int64_t bytes_per_token,
                      int64_t free_bytes) {
  if (options.kv_cache_memory_bytes > 0) return options.kv_cache_memory_bytes;
  const int64_t context =
      options.max_model_len > 0 ? options.max_model_len : model.max_position_embeddings;
  const bool gpu = options.device == "cuda";
  const int64_t wanted = options.num_seqs() * context;
  const int64_t tokens = std::max(context, gpu ? wanted : std::min(wanted, kDefaultKvTokens));
  const int64_t block_bytes = options.block_size * bytes_per_token;
  return std::min((tokens * bytes_per_token + block_bytes - 1) / block_bytes * block_bytes,
                  gpu ? free_bytes / 4 * 3 : free_bytes / 4);
}

// KV blocks in host memory. Where a rank's memory is the host's, they take their part of it.
Result<int64_t> PlanSwap(const ServeOptions& options,
                         int64_t block_bytes,
                         int64_t* memory_bytes,
                         int64_t host_memory_bytes) {
  if (options.swap_space == 0) return 0;
  if (options.swap_space < block_bytes) {
    return InvalidArgument("--swap-space is ", options.swap_space, " bytes; a KV block takes ",
                           block_bytes);
  }
  if (options.device != "cuda") {
    *memory_bytes -= options.swap_space;
  } else if (options.swap_space > host_memory_bytes) {
    return ResourceExhausted("--swap-space is ", Gib(options.swap_space), " on each rank; its ",
                             "host has ", Gib(host_memory_bytes), " for it");
  }
  return std::min<int64_t>(options.swap_space / block_bytes, std::numeric_limits<int32_t>::max());
}

}  // namespace

Result<Capacity> PlanShape(const ServeOptions& options, const ModelConfig& model) {
  Capacity capacity;
  capacity.dtype =
      ParseDType(options.dtype, model.torch_dtype == DType::kF32 ? DType::kF32 : DType::kBf16);
  capacity.kv_dtype = ParseDType(options.kv_cache_dtype, capacity.dtype);
  if (capacity.kv_dtype == DType::kF8E4M3 && options.device == "cpu") {
    return InvalidArgument(
        "--kv-cache-dtype is fp8; on --device cpu it may be auto, float32, bfloat16 or int8");
  }
  LONGHAND_ASSIGN_OR_RETURN(capacity.quantization,
                            ChooseQuantization(options.quantization, model.quantization));
  LONGHAND_RETURN_IF_ERROR(
      CheckDeviceQuantizes(options.device, capacity.dtype, capacity.quantization));
  LONGHAND_RETURN_IF_ERROR(CheckHeadSizes(options.device, capacity.dtype, model));
  capacity.block_size = options.block_size;
  LONGHAND_ASSIGN_OR_RETURN(
      capacity.shards, PlanShards(model, options.tensor_parallel_size,
                                  WeightDType(model.torch_dtype, capacity.dtype), capacity.kv_dtype,
                                  capacity.quantization));
  return capacity;
}

Result<Capacity> PlanCapacity(const ServeOptions& options,
                              const ModelConfig& model,
                              int64_t max_pixels,
                              int64_t memory_bytes,
                              int64_t host_memory_bytes) {
  LONGHAND_ASSIGN_OR_RETURN(Capacity capacity, PlanShape(options, model));
  const int64_t weight_bytes = LargestRank(capacity.shards, &RankShard::weight_bytes);
  const int64_t bytes_per_token = LargestRank(capacity.shards, &RankShard::kv_bytes_per_token);
  if (weight_bytes >= memory_bytes) {
    return ResourceExhausted(
        "the weights take ", Gib(weight_bytes), " on each rank, and ", Gib(memory_bytes),
        " of memory are available; use a larger --tensor-parallel-size on more machines");
  }
  const int64_t adapter_bytes =
      options.num_loras() *
      AdapterBytes(model, options.tensor_parallel_size, options.max_lora_rank, capacity.dtype);
  memory_bytes -= adapter_bytes;
  if (weight_bytes >= memory_bytes) {
    return ResourceExhausted(
        options.num_loras(), " adapters of rank ", options.max_lora_rank, " take ",
        Gib(adapter_bytes), " on each rank; beside weights of ", Gib(weight_bytes), " there are ",
        Gib(memory_bytes + adapter_bytes - weight_bytes), " (--max-loras, --max-lora-rank)");
  }
  LONGHAND_ASSIGN_OR_RETURN(
      capacity.num_host_blocks,
      PlanSwap(options, bytes_per_token * options.block_size, &memory_bytes, host_memory_bytes));
  if (weight_bytes >= memory_bytes) {
    return ResourceExhausted("--swap-space is ", Gib(options.swap_space), " on each rank; beside ",
                             "weights of ", Gib(weight_bytes), " there are ",
                             Gib(memory_bytes + options.swap_space - weight_bytes));
  }
  const int64_t kv_bytes =
      ChooseKvBytes(options, model, bytes_per_token, memory_bytes - weight_bytes);
  capacity.num_blocks = std::min<int64_t>(kv_bytes / (bytes_per_token * options.block_size),
                                          std::numeric_limits<int32_t>::max());
  if (capacity.num_blocks == 0) {
    return ResourceExhausted("a KV block takes ", bytes_per_token * options.block_size,
                             " bytes on each rank, and the KV cache has ", kv_bytes,
                             "; --kv-cache-memory-bytes sets them");
  }
  if (weight_bytes + kv_bytes > memory_bytes) {
    return ResourceExhausted("weights of ", Gib(weight_bytes), " and a KV cache of ", Gib(kv_bytes),
                             " do not fit into the ", Gib(memory_bytes), " that each rank has");
  }
  const int64_t limit = std::min(model.max_position_embeddings, capacity.kv_tokens());
  if (options.max_model_len > limit) {
    return ResourceExhausted("--max-model-len is ", options.max_model_len,
                             "; the largest that works is ", limit, " (the checkpoint allows ",
                             model.max_position_embeddings, ", the KV cache holds ",
                             capacity.kv_tokens(), " tokens)");
  }
  capacity.max_model_len = options.max_model_len > 0 ? options.max_model_len : limit;
  const VisionConfig& vision = model.vision;
  const int64_t patches_per_token = vision.patches_per_token();
  const int64_t pixels_per_token = patches_per_token * vision.patch_size * vision.patch_size;
  const int64_t image_tokens =
      std::max<int64_t>(1, std::min(max_pixels / pixels_per_token, capacity.max_model_len));
  capacity.max_patches_per_image = image_tokens * patches_per_token;
  capacity.encoder_cache_tokens = std::max(2 * image_tokens, options.max_num_batched_tokens);
  capacity.image_bytes = 2 * capacity.encoder_cache_tokens * pixels_per_token * 3;
  return capacity;
}

std::string CapacityTable(const Capacity& capacity, const ModelConfig& model, int num_groups) {
  std::string out =
      fmt::format("{} layers, hidden {}, {} heads / {} KV heads of {}, MLP {}, vocabulary {}\n",
                  model.num_layers, model.hidden_size, model.num_heads, model.num_kv_heads,
                  model.head_dim, model.intermediate_size, model.vocab_size);
  out += fmt::format("weights {}, quantization {}, KV cache {}, TP size {}\n",
                     DTypeName(capacity.dtype), QuantizationName(capacity.quantization),
                     DTypeName(capacity.kv_dtype), capacity.shards.tp_size);
  if (num_groups > 1) out += fmt::format("{} groups, each of these ranks:\n", num_groups);
  out += fmt::format("{:>4}  {:>9}  {:>9}  {:>15}  {:>15}  {:>11}  {:>14}\n", "rank", "heads",
                     "KV heads", "MLP columns", "vocabulary", "weights", "KV bytes/token");
  const auto range = [](IndexRange r) { return fmt::format("{}-{}", r.begin, r.end - 1); };
  for (const RankShard& rank : capacity.shards.ranks) {
    out += fmt::format("{:>4}  {:>9}  {:>9}  {:>15}  {:>15}  {:>11}  {:>14}\n", rank.rank,
                       range(rank.heads), range(rank.kv_heads), range(rank.ffn), range(rank.vocab),
                       Gib(rank.weight_bytes), rank.kv_bytes_per_token);
  }
  out += fmt::format("KV cache{}: {} tokens in {} blocks of {}; longest context {}\n",
                     num_groups > 1 ? " of each group" : "", capacity.kv_tokens(),
                     capacity.num_blocks, capacity.block_size, capacity.max_model_len);
  if (capacity.num_host_blocks > 0) {
    out += fmt::format("swap space: {} tokens in {} blocks in host memory\n",
                       capacity.num_host_blocks * capacity.block_size, capacity.num_host_blocks);
  }
  return out;
}

std::string CapacityJson(const Capacity& capacity, int num_groups) {
  boost::json::array ranks;
  for (int group = 0; group < num_groups; ++group) {
    for (const RankShard& rank : capacity.shards.ranks) {
      ranks.push_back(boost::json::object{{"group", group},
                                          {"rank", rank.rank},
                                          {"weight_bytes", rank.weight_bytes},
                                          {"kv_bytes_per_token", rank.kv_bytes_per_token}});
    }
  }
  return boost::json::serialize(boost::json::object{{"ranks", ranks},
                                                    {"data_parallel_size", num_groups},
                                                    {"kv_tokens", capacity.kv_tokens()},
                                                    {"max_model_len", capacity.max_model_len}});
}

}  // namespace longhand::cluster
