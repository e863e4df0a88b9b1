// ModelRunner: one rank's share of the model, executing StepPlans in order.
//
// Create(), Execute() and ResetForEpoch() belong to the executor thread, whose Ops and Communicator
// it borrows; PutImage() may be called from any thread. Everything that a plan says is checked
// before anything is changed: a wrong plan is a Status on every rank alike, and leaves the runner
// as it was. An error after that (a collective, an allocation) leaves the group to be re-formed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "common/status.h"
#include "common/step_plan.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/memory_budget.h"
#include "worker/model/observer.h"
#include "worker/model/weights.h"

namespace longhand::runner {

struct RunnerConfig {
  ModelConfig model;              // its directory holds the checkpoint
  DType dtype = DType::kBf16;     // kF32 or kBf16: see WeightDType() and Ops::ActivationDType()
  DType kv_dtype = DType::kBf16;  // what Ops::HasKvDType() says
  Quantization quantization = Quantization::kNone;
  int64_t num_blocks = 0;
  int64_t num_host_blocks = 0;  // KV blocks in host memory, for those that are swapped out
  int64_t block_size = 16;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_num_seqs = 64;
  int64_t max_model_len = 0;          // of one sequence, in tokens
  int64_t encoder_cache_tokens = 0;   // rows of image embeddings; 0: no images
  int64_t image_bytes = 0;            // of resized pixels held at once
  int64_t max_patches_per_image = 0;  // of 14 x 14 pixels; sizes the encoder's workspace
  int64_t memory_bytes = 0;           // what all of it may take; 0: no limit
  bool deterministic = true;          // kernels::Ops::SetDeterministic
  int load_threads = 1;               // that quantise while weights are loaded
  // One line, where something works another way than it should; empty: standard error.
  std::function<void(const std::string&)> log;
};

// What a runner of `config` takes on `ops`, by part: for the table printed at start. Weights are
// the parts whose names end in "weights"; the KV cache is the part "KV cache".
model::MemoryBudget PlanMemory(const RunnerConfig& config,
                               const ShardPlan& plan,
                               int32_t rank,
                               const kernels::Ops& ops);

class ModelRunner {
 public:
  // Loads this rank's weights and allocates all memory that steps will use. `progress` may be
  // empty; it is called with weight bytes done and in all. kInvalidArgument when the checkpoint or
  // the sizes do not fit each other, kResourceExhausted when memory is short: with the table of
  // parts, before anything is loaded, when they do not fit into memory_bytes.
  static Result<std::unique_ptr<ModelRunner>> Create(const RunnerConfig& config,
                                                     kernels::Ops& ops,
                                                     comm::Communicator& communicator,
                                                     const model::LoadProgress& progress);
  // The same, with weights from elsewhere: `load` is called once all sizes are known to fit, for
  // the rank of `communicator` in `plan`.
  using WeightLoad = std::function<Result<model::ModelWeights>()>;
  static Result<std::unique_ptr<ModelRunner>> CreateWith(const RunnerConfig& config,
                                                         const ShardPlan& plan,
                                                         const WeightLoad& load,
                                                         kernels::Ops& ops,
                                                         comm::Communicator& communicator);
  virtual ~ModelRunner() = default;

  // Resized RGB pixels [height, width, 3], needed on every rank before a plan names them. The same
  // hash again changes nothing. kResourceExhausted when they would exceed image_bytes. Any thread.
  virtual Status PutImage(const ContentHash& hash,
                          int32_t height,
                          int32_t width,
                          std::span<const uint8_t> pixels) = 0;

  // Runs the plan; its status says how that went. An epoch may start at any step; from there on
  // they rise by one.
  virtual StepResult Execute(const StepPlan& plan) = 0;

  // A new life with the same weights: forgets sequences and images, and starts `epoch`.
  // kFailedPrecondition when rank or size differ from those that the weights were loaded for.
  virtual Status ResetForEpoch(int64_t epoch, comm::Communicator& communicator) = 0;

  // The group ends: drops what was recorded with its communicator, which may only go then.
  virtual void LeaveGroup() = 0;

  virtual const model::MemoryBudget& memory() const = 0;
  // Named intermediate values of each step, for parity tests; empty in production. Over several
  // ranks, all have one or none has.
  virtual void SetObserver(model::Observer observer) = 0;
  // Whether decode steps are recorded and replayed (CUDA graphs) where the Ops can; they are unless
  // this says no. The results have the same bits.
  virtual void ReplaySteps(bool replay) = 0;
  // This rank's logits of the last step, f32, a row for each sampled token in the plan's order,
  // until the next; empty when it sampled nothing. Columns are the rank's part of the vocabulary.
  virtual TensorView LastLogits() const = 0;
  // A layer's KV cache [2, num_blocks, block_size, K, D], for benchmarks that fill it.
  virtual TensorView KvCache(int64_t layer_idx) const = 0;
};

}  // namespace longhand::runner
