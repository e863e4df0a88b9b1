// The memory of a rank: what it will take, by part, before anything is taken.
#pragma once

#include <cstdint>

#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/memory_budget.h"
#include "worker/model/packed_weights.h"
#include "worker/runner/runner_config.h"

namespace longhand::runner {

// What a runner of `config` takes on `ops`, by part: for the table printed at start. `weights` are
// the rank's, and `sizes` its steps'. Weights, as the shard plan counts them, are the parts whose
// names end in "weights"; the KV cache is the part "KV cache".
model::MemoryBudget PlanMemory(const RunnerConfig& config,
                               const ShardPlan& plan,
                               int32_t rank,
                               const model::PackedWeights& weights,
                               const kernels::StepSizes& sizes,
                               const kernels::Ops& ops);

// kResourceExhausted, with the table, where it is more than `limit_bytes`; 0: no limit.
Status CheckMemory(const model::MemoryBudget& memory, int64_t limit_bytes);

}  // namespace longhand::runner
