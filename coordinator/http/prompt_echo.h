// PromptEcho: a prompt as the beginning of its answers, a part at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/http/answer_json.h"
#include "coordinator/input/detokenizer.h"
#include "longhand/v1/generation.pb.h"
#include "shim/tokenizer.h"

namespace longhand::http {

class PromptEcho {
 public:
  // What is shown of it; later parts are appended to it.
  struct Part {
    std::string text;
    TextLogprobs logprobs;
  };

  // `tokenizer` outlives it.
  explicit PromptEcho(const shim::Tokenizer& tokenizer)
      : tokenizer_(tokenizer), detokenizer_(tokenizer, input::SpecialTokens::kKeep) {}

  // The first event has the ids; before anything else.
  void Begin(const v1::GenerateEvent& first) {
    token_ids_.assign(first.prompt_token_ids().begin(), first.prompt_token_ids().end());
  }
  // The tokens of the event's log-probabilities, before the first of which the first token comes,
  // which has none.
  void Next(const v1::GenerateEvent& event, Part* part);
  // All that is left.
  void Rest(Part* part);
  int64_t num_characters() const { return num_characters_; }  // so far

 private:
  // `logprob` may be null.
  void Add(const v1::Logprob* logprob, Part* part);

  const shim::Tokenizer& tokenizer_;
  input::Detokenizer detokenizer_;
  std::vector<int32_t> token_ids_;
  size_t next_ = 0;
  int64_t num_characters_ = 0;
};

}  // namespace longhand::http
