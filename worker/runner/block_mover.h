// BlockMover: carries out a plan's copies of KV blocks, in every layer, and owns the blocks in host
// memory. Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/runner/plan_check.h"

namespace longhand::runner {

class BlockMover {
 public:
  // A layer's KV cache, and its scales where it has them.
  struct Layer {
    TensorView cache;
    TensorView scales;
  };
  // Host memory for as many blocks of every layer is taken here; `on_piece`, if there is one, is
  // called with each layer's. kResourceExhausted.
  static Result<std::unique_ptr<BlockMover>> Create(std::vector<Layer> layers,
                                                    int64_t num_host_blocks,
                                                    kernels::Ops& ops,
                                                    const std::function<void()>& on_piece);
  // On the device.
  static int64_t WorkspaceBytes(const PlanLimits& limits);

  // Enqueues the plan's swaps and copies; the plan has been checked. What it enqueued must be done
  // (Synchronize) before the next call.
  Status Run(const StepPlan& plan);

 private:
  // Where blocks of a layer lie in both memories: a cache, or scales.
  struct Place {
    TensorView device;
    TensorView host;
    std::unique_ptr<kernels::Buffer> memory;
  };

  explicit BlockMover(kernels::Ops& ops) : ops_(ops) {}
  Status AddPlace(const TensorView& device, int64_t num_host_blocks);

  kernels::Ops& ops_;
  std::vector<Place> places_;
  std::unique_ptr<kernels::Buffer> pairs_;         // all pairs of a plan
  std::unique_ptr<kernels::Buffer> staged_pairs_;  // the same, in host memory
};

}  // namespace longhand::runner
