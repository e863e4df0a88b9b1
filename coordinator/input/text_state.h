// TextStateOfAnswer: the engine's TextState, from tokens to text that may be sent.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/text/running_word_count.h"
#include "coordinator/engine/text_state.h"
#include "coordinator/input/detokenizer.h"
#include "coordinator/input/length_governor.h"
#include "coordinator/input/stop_matcher.h"
#include "shim/tokenizer.h"

namespace longhand::input {

// Special tokens have no text here, and so never match a stop string. Engine thread.
class TextStateOfAnswer : public engine::TextState {
 public:
  // `tokenizer` and `words` must outlive this.
  TextStateOfAnswer(const shim::Tokenizer& tokenizer,
                    const WordCounter& words,
                    const std::vector<std::string>& stop_strings,
                    int64_t target_words);

  // After the answer has ended, further tokens give empty deltas.
  Delta Append(int32_t token_id) override;
  std::string Finish() override;
  int64_t num_words() const override { return words_.num_words(); }
  bool is_short() const override {
    return governor_.has_value() && governor_->IsShort(num_words());
  }

 private:
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  RunningWordCount words_;
  std::optional<LengthGovernor> governor_;  // of an answer with a target
  bool target_reached_ = false;
};

// Thread-safe.
class TextStateOfAnswerFactory : public engine::TextStateFactory {
 public:
  // `tokenizer` must outlive this, and this everything that it makes.
  explicit TextStateOfAnswerFactory(const shim::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  std::unique_ptr<engine::TextState> Create(const std::vector<std::string>& stop_strings,
                                            int64_t target_words) const override;

 private:
  const shim::Tokenizer& tokenizer_;
  const WordCounter words_;
};

}  // namespace longhand::input
