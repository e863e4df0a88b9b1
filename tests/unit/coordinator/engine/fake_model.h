// A model that costs nothing: what it samples is a pure function of the tokens, positions and
// pictures before, read either from a paged cache (FakeWorkers) or straight from the request
// (ExpectedAnswer). Equal answers mean that the engine put every token in the right slot, in the
// right order, with the right picture.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "common/sampling_params.h"
#include "common/step_plan.h"

namespace longhand::engine {

inline constexpr int32_t kFakeVocabSize = 64;
inline constexpr int32_t kFakeEos = 1;

inline uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

// What a token leaves in its KV slot, which is a function of all slots before it. `embedding`: the
// token id, or the encoder cache row.
inline uint64_t SlotValue(uint64_t context, uint64_t embedding, const int32_t* position) {
  uint64_t value = Mix(Mix(0x51, context), embedding);
  for (int axis = 0; axis < 3; ++axis) value = Mix(value, static_cast<uint64_t>(position[axis]));
  return value;
}

inline uint64_t TokenEmbedding(int32_t token_id) {
  return Mix(0xA1, static_cast<uint64_t>(token_id));
}

inline uint64_t ImageEmbedding(const ContentHash& image, int64_t row) {
  uint64_t value = 0xB2;
  for (const uint8_t byte : image) value = Mix(value, byte);
  return Mix(value, static_cast<uint64_t>(row));
}

// The next token, given the hash of all slots before it.
inline SampledToken SampleToken(uint64_t context,
                                const SamplingParams& sampling,
                                const std::vector<TokenBias>& biases,
                                int64_t output_position,
                                const std::vector<int32_t>& suppressed) {
  uint64_t hash = Mix(Mix(Mix(context, sampling.seed), sampling.choice),
                      static_cast<uint64_t>(output_position));
  for (const TokenBias& bias : biases) {
    hash = Mix(Mix(hash, static_cast<uint64_t>(bias.token_id)), std::bit_cast<uint32_t>(bias.bias));
  }
  SampledToken token;
  do {
    hash = Mix(hash, 0xC3);
    token.token_id = static_cast<int32_t>((hash >> 20) % kFakeVocabSize);
  } while (std::ranges::find(suppressed, token.token_id) != suppressed.end());
  token.logprob = -static_cast<float>(hash >> 40);
  return token;
}

// The score of `token_id` after a context.
inline float ScoreToken(uint64_t context, int32_t token_id) {
  return -static_cast<float>(Mix(context, static_cast<uint64_t>(token_id)) >> 40);
}

}  // namespace longhand::engine
