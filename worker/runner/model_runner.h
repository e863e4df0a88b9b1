// ModelRunner: one rank's share of the model, executing StepPlans in order.
//
// Create(), steps and ResetForEpoch() belong to the executor thread, whose Ops and Communicator it
// borrows; PutImage() may be called from any thread. Everything that a plan says is checked
// before anything is changed: a wrong plan is a Status on every rank alike, and leaves the runner
// as it was. An error after that (a collective, an allocation) leaves the group to be re-formed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/config/shard_plan.h"
#include "common/status.h"
#include "common/step_plan.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/memory_budget.h"
#include "worker/model/observer.h"
#include "worker/model/weights.h"
#include "worker/runner/runner_config.h"

namespace longhand::runner {

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

  // Reads an adapter into a slot that no step in flight and no sequence uses; a slot that has
  // `identity` keeps what it has. Slots outlive epochs. kInvalidArgument or kNotFound when it is
  // none for this model: the slot is then empty.
  virtual Status LoadAdapter(int64_t slot,
                             const std::string& identity,
                             const std::filesystem::path& directory) = 0;

  // Runs the plan; its status says how that went. An epoch may start at any step; from there on
  // they rise by one. No other step may have begun.
  StepResult Execute(const StepPlan& plan) {
    Begin(plan);
    return End();
  }

  // The same in two halves, where the device runs apart from the host (Ops::RunsApart): a step may
  // begin before the one ahead of it has ended, as far as MayBegin() says. `plan` need not outlive
  // the call.
  virtual bool MayBegin(const StepPlan& plan) const = 0;
  virtual void Begin(const StepPlan& plan) = 0;
  // Of the oldest step that has begun: whether End() would not wait. Notices a lost peer.
  virtual bool HasEnded() = 0;
  virtual StepResult End() = 0;

  // A new life with the same weights: forgets sequences, images and steps that have not ended, and
  // starts `epoch`.
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
