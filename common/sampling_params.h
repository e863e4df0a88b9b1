// How one answer is sampled. Checked at the edge (coordinator/api), trusted after.
#pragma once

#include <cstdint>

namespace longhand {

// What is added to a token's logit before all that SamplingParams says.
struct TokenBias {
  int32_t token_id = 0;
  float bias = 0;  // [-kMaxTokenBias, kMaxTokenBias]
  friend bool operator==(const TokenBias&, const TokenBias&) = default;
};

inline constexpr float kMaxTokenBias = 100;
inline constexpr int64_t kMaxTokenBiases = 300;  // of a sequence

// Applied in this order, behind the biases of tokens: repetition, presence and frequency penalty, suppressed tokens
// (SequenceChunk), temperature, min_p, top_k, top_p. Temperature 0 is greedy: the largest logit after penalties, the lower id
// on a tie.
struct SamplingParams {
  float temperature = 1.0f;         // >= 0
  float top_p = 1.0f;               // (0, 1]; 1 is off
  int32_t top_k = 0;                // 0 is off
  float min_p = 0.0f;               // [0, 1]; share of the largest probability; 0 is off
  float repetition_penalty = 1.0f;  // > 0; counts prompt and output; 1 is off
  float presence_penalty = 0.0f;    // [-2, 2]; counts output
  float frequency_penalty = 0.0f;   // [-2, 2]; counts output
  uint64_t seed = 0;                // drawn at admission when the request has none
  uint32_t choice = 0;              // which of `n` answers: part of the random key
  int32_t num_logprobs = -1;        // -1: none; 0: of the sampled token; k: of the k best as well (at most 20)

  bool HasPenalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

}  // namespace longhand
