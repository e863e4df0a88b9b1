#include "worker/runner/memory_plan.h"

#include "worker/model/adapters.h"
#include "worker/model/decoder.h"
#include "worker/model/vision_encoder.h"
#include "worker/runner/block_mover.h"
#include "worker/runner/device_batch.h"
#include "worker/runner/runner_sizes.h"
#include "worker/runner/token_history.h"
#include "worker/runner/token_sampler.h"

namespace longhand::runner {

model::MemoryBudget PlanMemory(const RunnerConfig& config,
                               const ShardPlan& plan,
                               int32_t rank,
                               const model::PackedWeights& weights,
                               const kernels::StepSizes& sizes,
                               const kernels::Ops& ops) {
  constexpr auto kHost = model::MemoryBudget::Place::kHost;
  const DType activation = ops.ActivationDType(config.dtype);
  const RankShard& shard = plan.ranks[static_cast<size_t>(rank)];
  const PlanLimits limits = LimitsOf(config, plan.tp_size);
  const kernels::OpsMemory reserved = ops.ReservedMemory(sizes);
  const int64_t batch_bytes = DeviceBatch::WorkspaceBytes(limits);
  const int64_t mover_bytes = BlockMover::WorkspaceBytes(limits);
  const int64_t block_bytes = config.block_size * shard.kv_bytes_per_token;
  const bool has_images = config.encoder_cache_tokens > 0;

  model::MemoryBudget budget{.parts = {}, .has_own_memory = ops.name() == "cuda"};
  budget.Add("language model weights", shard.text_weight_bytes);
  budget.Add("image encoder weights", shard.vision_weight_bytes);
  budget.Add("what packing adds to them", weights.bytes - shard.weight_bytes);
  budget.Add("KV cache", config.num_blocks * block_bytes);
  budget.Add("decoder workspace",
             model::Decoder::WorkspaceBytes(config.model, plan, shard, SizesOf(config, ops)));
  budget.Add(
      "batch and sampling",
      batch_bytes + mover_bytes + TokenSampler::WorkspaceBytes(MaxLogitRows(config), plan.tp_size));
  budget.Add("tokens of the sequences at hand", TokenHistory::WorkspaceBytes(limits));
  budget.Add("operations' workspaces", reserved.device_bytes);
  if (has_images) {
    budget.Add("image encoder workspace",
               model::VisionEncoder::WorkspaceBytes(config.model.vision, activation,
                                                    config.max_patches_per_image));
    budget.Add("image embeddings", config.encoder_cache_tokens * config.model.hidden_size *
                                       static_cast<int64_t>(DTypeSize(activation)));
  }
  if (config.max_loras > 0) {
    budget.Add("adapters",
               model::Adapters::Bytes(config.model, shard, AdapterSizesOf(config, ops)));
  }
  budget.Add("staging",
             DeviceBatch::StagingBytes(limits) + mover_bytes + reserved.staging_bytes +
                 TokenSampler::StagingBytes(MaxLogitRows(config)),
             kHost);
  budget.Add("KV blocks in host memory", config.num_host_blocks * block_bytes, kHost);
  if (has_images) budget.Add("resized images, at most", config.image_bytes, kHost);
  budget.Add("CUDA, its graphs, NCCL", ops.LibraryBytes(), model::MemoryBudget::Place::kLibraries);
  return budget;
}

Status CheckMemory(const model::MemoryBudget& memory, int64_t limit_bytes) {
  const int64_t short_bytes = memory.total_bytes() - limit_bytes;
  if (limit_bytes == 0 || short_bytes <= 0) return OkStatus();
  return ResourceExhausted(
      "this rank needs ", memory.total_bytes(), " bytes of memory and may take ", limit_bytes, ", ",
      short_bytes,
      " fewer; use more ranks, or lower --kv-cache-memory-bytes, --swap-space, "
      "--max-num-batched-tokens, --max-pixels, --max-loras or --max-lora-rank:\n",
      model::ToTable(memory));
}

}  // namespace longhand::runner
