// RequestSummary: what became of a request, in numbers: for the log and for histograms. Nothing of
// what it said.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "common/trace.h"
#include "coordinator/engine/request_table.h"

namespace longhand::engine {

struct RequestSummary {
  std::string request_id;
  Trace trace;
  std::string adapter;  // its name; empty: the model itself
  int64_t num_prompt_tokens = 0;
  int64_t num_cached_tokens = 0;  // of the prompt, that the prefix cache had
  int64_t num_choices = 0;
  int64_t max_tokens = 0;  // of each
  int64_t num_tokens = 0;  // of all choices
  int64_t num_words = 0;
  bool is_resumed = false;  // lived through the loss of a worker group or a coordinator
  std::string
      finish;  // stop or length (if of any choice); else the code's name: cancelled, unavailable
  std::string finish_detail;  // as TokenEvent has it; empty when it ended early
  Duration duration{};
  std::optional<Duration> queue_time;  // when it was admitted
  // When there was a token, and all are this coordinator's.
  std::optional<Duration> time_to_first_token;
  std::optional<Duration> prefill_time;
  std::optional<Duration> decode_time;
  std::optional<Duration> time_per_output_token;  // when there were more tokens than choices
};

// "resource_exhausted", as `finish` has it.
std::string NameOf(StatusCode code);

// Called on the engine's thread: must not block.
using RequestObserver = std::function<void(const RequestSummary&)>;

RequestSummary Summarise(const ActiveRequest& active, const Status& status, TimePoint now);
// Of one that was never taken.
RequestSummary SummariseRefused(const Request& request, const Status& status);

}  // namespace longhand::engine
