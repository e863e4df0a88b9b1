// TextStateOfAnswer: the engine's TextState, from tokens to text that may be sent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/text/running_word_count.h"
#include "coordinator/engine/text_state.h"
#include "coordinator/input/detokenizer.h"
#include "coordinator/input/stop_matcher.h"
#include "shim/tokenizer.h"

namespace longhand::input {

// Special tokens have no text here, and so never match a stop string. Engine thread.
class TextStateOfAnswer : public engine::TextState {
 public:
  // `tokenizer` and `words` must outlive this.
  TextStateOfAnswer(const shim::Tokenizer& tokenizer,
                    const WordCounter& words,
                    const std::vector<std::string>& stop_strings)
      : detokenizer_(tokenizer, SpecialTokens::kSkip), stop_matcher_(stop_strings), words_(words) {}

  // After a stop string has matched, further tokens give empty deltas.
  Delta Append(int32_t token_id) override;
  std::string Finish() override;
  int64_t num_words() const override { return words_.num_words(); }

 private:
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  RunningWordCount words_;
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
  const WordCounter words_;
};

}  // namespace longhand::input
