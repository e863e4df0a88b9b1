// What an answer must be, computed from the request alone: no batch, no blocks, no steps.
#pragma once

#include <string>
#include <vector>

#include "coordinator/engine/config.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

struct AnswerText {
  std::vector<int32_t> token_ids;
  std::string text;
  std::string finish_detail;
  std::vector<float> prompt_logprobs;  // when asked, of choice 0
  std::vector<float> prompt_top;       // the same

  friend bool operator==(const AnswerText&, const AnswerText&) = default;
};

AnswerText ExpectedAnswer(const Request& request, uint32_t choice, const EngineConfig& config);

}  // namespace longhand::engine
