// Answer: the events of a Generate stream put together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "longhand/v1/generation.pb.h"

namespace longhand::client {

struct Choice {
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<v1::Logprob> logprobs;
  std::string finish_reason;  // stop, length
  std::string finish_detail;
  std::optional<v1::LengthReport> length;  // of an answer with a target of words
};

struct Answer {
  std::string request_id;
  std::vector<int32_t> prompt_token_ids;
  std::vector<v1::Logprob> prompt_logprobs;  // of the 2nd token, the 3rd, ...
  std::vector<Choice> choices;
  v1::Usage usage;

  void Add(const v1::GenerateEvent& event);
  // The first choice's fields at the top, as a script wants them; all of them under "choices" when
  // there are several.
  std::string ToJson() const;
};

}  // namespace longhand::client
