// The distribution that sampling draws from, as probabilities: for tests, and what Sample itself
// uses.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace longhand::kernels::reference {

// The tokens that the filters keep, the likeliest first (the lower id on a tie), each with
// (logit - largest logit) / temperature, after penalties. Greedy rows keep one token. A NaN logit
// counts as -infinity; where the largest logit is not finite, its lowest id is all that is kept.
struct KeptToken {
  int32_t id = 0;
  float score = 0;
};
std::vector<KeptToken> KeptTokens(const float* logits,
                                  int64_t vocab_size,
                                  const SampleRow& row,
                                  const TensorView& history);

// [vocab_size] probabilities; 0 where a filter removed the token.
std::vector<float> SamplingDistribution(const float* logits,
                                        int64_t vocab_size,
                                        const SampleRow& row,
                                        const TensorView& history);

}  // namespace longhand::kernels::reference
