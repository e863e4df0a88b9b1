// Request: what a client asked, tokenised and with its pictures resized. Made and checked at the
// edge, never changed after.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/sampling_params.h"
#include "common/status.h"
#include "common/step_plan.h"
#include "common/trace.h"
#include "coordinator/engine/adapter.h"
#include "coordinator/engine/token_constraint.h"

namespace longhand::engine {

inline constexpr int32_t kMinPriority = -100;
inline constexpr int32_t kMaxPriority = 100;
inline constexpr int64_t kMaxTargetWords = 1'000'000;

struct ImageInput {
  ContentHash hash{};
  int32_t offset = 0;       // its first token in the prompt
  int32_t num_tokens = 0;   // in the prompt, and rows in the encoder cache
  int32_t num_patches = 0;  // what encoding it costs
  int32_t height = 0;       // pixels
  int32_t width = 0;
  // Slot of the adapter that it is encoded with, which the hash tells apart; -1: none.
  int32_t adapter = -1;
  // [height, width, 3] RGB. Shared because the executor may still send it when the request is over.
  std::shared_ptr<const std::vector<uint8_t>> pixels;
};

struct Request {
  std::string request_id;
  Trace trace;
  int64_t call = 0;                // the client's call, for Engine::CancelCall
  std::vector<int32_t> token_ids;  // the prompt
  std::vector<int32_t> positions;  // [prompt, 3]: time, height, width (M-RoPE)
  int32_t rope_delta = 0;  // token i after the prompt has position i + rope_delta, three times
  std::vector<ImageInput> images;       // by offset
  SamplingParams sampling;              // choice: set by the engine
  std::vector<TokenBias> biases;        // of tokens, by rising id
  std::vector<int32_t> stop_token_ids;  // the request's own
  bool ignore_eos = false;
  int64_t max_tokens = 0;    // of each answer; 0: the prompt alone is computed
  int64_t min_tokens = 0;    // before, no stop token and no end-of-sequence id can be sampled
  int64_t target_words = 0;  // of each answer; 0: none
  bool repetition_guard = false;
  // The form that each answer is held to; null: none. Shared with other requests of the same form.
  std::shared_ptr<const TokenConstraintFactory> constraint;
  uint32_t num_choices = 1;                // answers to the prompt
  std::shared_ptr<const Adapter> adapter;  // held as long as the request; null: the model itself
  std::vector<std::string> stop_strings;
  TimePoint deadline = TimePoint::max();
  // Who shares with others by tokens, and the request's place among those of its tenant.
  std::string tenant;
  // Prompts share KV blocks with those of the same tenant and salt only.
  std::string cache_salt;
  int32_t priority = 0;  // kMinPriority (earliest) to kMaxPriority
  // Log-probabilities of the prompt's tokens, and of the likeliest at each of their places.
  bool prompt_logprobs = false;
  int32_t num_top_prompt_logprobs = 0;  // at most kMaxTopLogprobs

  int64_t num_prompt_tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

// What the scheduler relies on: sizes agree, images lie inside the prompt in order.
// kInvalidArgument names the field.
Status CheckRequest(const Request& request);

}  // namespace longhand::engine
