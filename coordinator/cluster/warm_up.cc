#include "coordinator/cluster/warm_up.h"

#include <cmath>

namespace longhand::cluster {

StepPlan WarmUpPlan(int64_t epoch) {
  StepPlan plan{.epoch = epoch, .step = kWarmUpStep};
  plan.chunks.push_back(
      {.sequence_id = kWarmUpSequence,
       .token_ids = {0},
       .positions = {0, 0, 0},
       .new_block_ids = {0},
       .start = {SequenceStart{.sampling = {.temperature = 0, .num_logprobs = 0}}},
       .sample = true});
  return plan;
}

Status CheckWarmUp(const StepResult& result) {
  for (const SequenceResult& sequence : result.sequences) {
    for (const SampledToken& token : sequence.tokens) {
      if (std::isfinite(token.logprob)) continue;
      return InvalidArgument("the log-probability of the model's first token is ",
                             std::isnan(token.logprob) ? "NaN" : "infinite",
                             "; a weight of the decoder is NaN or infinite");
    }
  }
  return result.status;
}

}  // namespace longhand::cluster
