// The parts of sampling that every backend shares on the host: penalties, and the random number of
// a token.
#pragma once

#include <cstdint>

#include "common/philox.h"
#include "kernels/ops.h"

namespace longhand::kernels {

// Changes one row of logits [vocab_size] as SamplingParams says: penalties, then stop ids to
// -infinity if they are suppressed. Token ids outside the vocabulary are skipped.
void ApplyPenalties(const SampleRow& row, int64_t vocab_size, float* logits);

// Standard Gumbel noise of a token: -log(-log(u)). The logarithms are double, so that their
// rounding never shows in the float; u is kept from 0 by half a step.
float Gumbel(const DrawKey& key, int32_t token_id);

// No draw exceeds this: u is at most 1 - 2^-24.
inline constexpr float kMaxGumbel = 16.7f;

}  // namespace longhand::kernels
