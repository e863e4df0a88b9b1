// The parts of sampling that every backend shares on the host: biases and penalties, and the random
// number of a token.
#pragma once

#include <cstdint>

#include "common/philox.h"
#include "kernels/ops.h"

namespace longhand::kernels {

// Changes one row of logits, of ids [first_id, first_id + num_ids), as SamplingParams says:
// biases, penalties, then suppressed ids, and those that are not allowed, to -infinity. Other token
// ids are skipped.
void ApplyPenalties(const SampleRow& row,
                    const TensorView& history,
                    int64_t first_id,
                    int64_t num_ids,
                    float* logits);

// Makes the token the next one of its row's history, if it has one.
void AppendToken(const SampleRow& row, int32_t token_id, const TensorView& history);

// Standard Gumbel noise of a token: -log(-log(u)). The logarithms are double, so that their
// rounding never shows in the float; u is kept from 0 by half a step.
float Gumbel(const DrawKey& key, int32_t token_id);

// e^score in kMassBits after the point: a vocabulary of 2^19 tokens sums without overflow, in any
// order. What is below a unit counts as none.
inline constexpr double kMassUnits = static_cast<double>(int64_t{1} << kMassBits);
inline constexpr float kNoMass = -31.5f;
uint64_t MassOf(float score);

// No draw exceeds this: u is at most 1 - 2^-24.
inline constexpr float kMaxGumbel = 16.7f;

}  // namespace longhand::kernels
