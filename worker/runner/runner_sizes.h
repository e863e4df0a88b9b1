// What a RunnerConfig says to each part of the runner.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/adapters.h"
#include "worker/model/decoder.h"
#include "worker/model/packed_weights.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/runner_config.h"

namespace longhand::runner {

// kInvalidArgument names the first number, or dtype, that cannot be.
Status CheckConfig(const RunnerConfig& config, const kernels::Ops& ops);

int64_t MaxLogitRows(const RunnerConfig& config);
PlanLimits LimitsOf(const RunnerConfig& config, int32_t tp_size);
model::DecoderSizes SizesOf(const RunnerConfig& config, const kernels::Ops& ops);
model::AdapterSizes AdapterSizesOf(const RunnerConfig& config, const kernels::Ops& ops);
kernels::StepSizes StepSizesOf(const RunnerConfig& config,
                               const RankShard& shard,
                               const model::PackedWeights& weights);
// Of a rank, in a decode step: a sum, or what the ranks say of the tokens that they sample.
size_t LargestExchangeBytes(const RunnerConfig& config, const kernels::Ops& ops);

}  // namespace longhand::runner
