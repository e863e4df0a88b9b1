// ScoreChunks: log-probabilities of the tokens that chunks ask for, and the likeliest tokens beside
// them, a collective.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "worker/comm/communicator.h"
#include "worker/model/decoder.h"
#include "worker/runner/token_sampler.h"

namespace longhand::runner {

// After Decoder::Forward() of the plan's chunks; `results` has one for each. Only rank 0 computes
// them, so many rows of logits at once; the others have zeros.
Status ScoreChunks(const StepPlan& plan,
                   int64_t max_rows,
                   model::Decoder& decoder,
                   TokenSampler& sampler,
                   comm::Communicator& communicator,
                   std::vector<SequenceResult>* results);

}  // namespace longhand::runner
