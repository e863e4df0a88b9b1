#include "coordinator/http/prompt_echo.h"

namespace longhand::http {

void PromptEcho::Next(const v1::GenerateEvent& event, Part* part) {
  if (next_ == 0 && !token_ids_.empty()) Add(nullptr, part);
  for (const v1::Logprob& logprob : event.prompt_logprobs()) {
    if (next_ < token_ids_.size()) Add(&logprob, part);
  }
}

void PromptEcho::Rest(Part* part) {
  while (next_ < token_ids_.size()) Add(nullptr, part);
}

void PromptEcho::Add(const v1::Logprob* logprob, Part* part) {
  const int32_t token_id = token_ids_[next_++];
  if (logprob != nullptr) {
    part->logprobs.Add(tokenizer_, *logprob, num_characters_);
  } else {
    part->logprobs.AddUnknown(tokenizer_, token_id, num_characters_);
  }
  std::string text = detokenizer_.Append(token_id);
  if (next_ == token_ids_.size()) text += detokenizer_.Finish();
  num_characters_ += CountCharacters(text);
  part->text += text;
}

}  // namespace longhand::http
