// TokenSink: where the engine delivers an answer. Implemented in coordinator/api by bounded
// outboxes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"

namespace longhand::engine {

enum class FinishReason { kStop, kLength };

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;  // of all choices; stop tokens count
  int64_t cached_tokens = 0;      // of the prompt, that the prefix cache had
};

// So that an event stays small enough for any client.
inline constexpr size_t kMaxScoresPerEvent = 512;

struct LengthReport {
  int64_t target_words = 0;
  int64_t words = 0;  // that were written
};

struct TokenEvent {
  int64_t seq = 0;      // 1 for the request's first event, then one more each
  uint32_t choice = 0;  // which of `n` answers
  std::string text;     // whole characters to append to the choice's text; may be empty
  // The new tokens, a stop token included. One an event; none in those of prompt_logprobs, and with
  // max_tokens 0.
  std::vector<int32_t> token_ids;
  std::vector<SampledToken> logprobs;  // one for each of token_ids, when asked
  // In the last event of a choice.
  std::optional<FinishReason> finish_reason;
  // eos, stop_token, stop_string, target_reached, grammar_complete, max_tokens, context_full,
  // repetition
  std::string finish_detail;
  // In the last event of a choice with a target.
  std::optional<LengthReport> length;
  // In the last event of the request.
  std::optional<Usage> usage;
  // When asked, as they are computed, in events before the first token: of the 2nd prompt token,
  // the 3rd, ..., at most kMaxScoresPerEvent an event.
  std::vector<SampledToken> prompt_logprobs;
};

// One for each request. Called on the engine thread, must not block, and must not call the engine's
// turn. At most n * max(max_tokens, 1) events come, and as many as prompt_logprobs take; then
// OnEnd, once; then the engine destroys the sink. When the engine stops, sinks of requests that
// have not ended are destroyed without OnEnd.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // The request is taken: comes before everything else, but never to a sink of Engine::Restore.
  virtual void OnAccepted() = 0;
  virtual void OnEvent(TokenEvent event) = 0;
  // OK: every choice has finished. Else why the request ended early; what was delivered stands.
  virtual void OnEnd(const Status& status) = 0;
};

}  // namespace longhand::engine
