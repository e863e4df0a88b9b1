// Delivered: what a request's sink was told by an engine that is gone.
#pragma once

#include <cstdint>
#include <vector>

namespace longhand::engine {

struct Delivered {
  std::vector<std::vector<int32_t>> token_ids;  // [num_choices]
  int64_t last_event_seq = 0;
  std::vector<bool> has_ended;  // [num_choices]
  int64_t num_prompt_logprobs = 0;
};

}  // namespace longhand::engine
