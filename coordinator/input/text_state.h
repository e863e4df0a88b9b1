// TextStateOfAnswer: the engine's TextState, from tokens to text that may be sent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/engine/text_state.h"
#include "coordinator/input/detokenizer.h"
#include "coordinator/input/stop_matcher.h"
#include "shim/tokenizer.h"

namespace longhand::input {

// Special tokens have no text here, and so never match a stop string. Engine thread.
class TextStateOfAnswer : public engine::TextState {
 public:
  // `tokenizer` must outlive this.
  TextStateOfAnswer(const shim::Tokenizer& tokenizer, const std::vector<std::string>& stop_strings)
      : detokenizer_(tokenizer, SpecialTokens::kSkip), stop_matcher_(stop_strings) {}

  // After a stop string has matched, further tokens give empty deltas.
  Delta Append(int32_t token_id) override;
  std::string Finish() override;

 private:
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
};

// Thread-safe.
class TextStateOfAnswerFactory : public engine::TextStateFactory {
 public:
  // `tokenizer` must outlive this and everything it makes.
  explicit TextStateOfAnswerFactory(const shim::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  std::unique_ptr<engine::TextState> Create(
      const std::vector<std::string>& stop_strings) const override;

 private:
  const shim::Tokenizer& tokenizer_;
};

}  // namespace longhand::input
