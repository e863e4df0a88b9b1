// The steps by which a group shows, before the engine relies on it, that plans are executed, and
// that the model's weights give numbers.
#pragma once

#include <cstdint>
#include <limits>

#include "common/status.h"
#include "common/step_plan.h"

namespace longhand::cluster {

// The engine's own count from 1.
inline constexpr int64_t kWarmUpStep = -1;
inline constexpr int64_t kWarmUpReleaseStep = 0;
inline constexpr int64_t kWarmUpSequence = std::numeric_limits<int64_t>::max();

// The first of the two: one token, with its log-probability.
StepPlan WarmUpPlan(int64_t epoch);

// kInvalidArgument where the token's log-probability is no number: one weight of the decoder that
// is none makes all logits so, and every answer the token 0.
Status CheckWarmUp(const StepResult& result);

}  // namespace longhand::cluster
