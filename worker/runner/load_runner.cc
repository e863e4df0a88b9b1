#include <utility>

#include "worker/model/checkpoint.h"
#include "worker/runner/model_runner.h"

namespace longhand::runner {

Result<std::unique_ptr<ModelRunner>> ModelRunner::Create(const RunnerConfig& config,
                                                         kernels::Ops& ops,
                                                         comm::Communicator& communicator,
                                                         const model::LoadProgress& progress) {
  LONGHAND_ASSIGN_OR_RETURN(model::Checkpoint opened,
                            model::Checkpoint::Open(config.model.directory));
  const auto tp_size = static_cast<int32_t>(communicator.size());
  LONGHAND_ASSIGN_OR_RETURN(
      const ShardPlan plan,
      PlanShards(config.model, tp_size, model::WeightDTypeOf(opened, config.dtype),
                 config.kv_dtype, config.quantization));
  const auto load = [&] {
    // The files are unmapped as soon as the weights are in place.
    const model::Checkpoint checkpoint = std::move(opened);
    return model::LoadWeights(checkpoint, config.model, tp_size, communicator.rank(), config.dtype,
                              config.quantization, ops, progress, config.load_threads);
  };
  return CreateWith(config, plan, load, ops, communicator);
}

}  // namespace longhand::runner
