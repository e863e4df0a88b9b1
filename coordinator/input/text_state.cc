#include "coordinator/input/text_state.h"

namespace longhand::input {

TextStateOfAnswer::TextStateOfAnswer(const shim::Tokenizer& tokenizer,
                                     const WordCounter& words,
                                     const std::vector<std::string>& stop_strings,
                                     int64_t target_words)
    : detokenizer_(tokenizer, SpecialTokens::kSkip), stop_matcher_(stop_strings), words_(words) {
  if (target_words > 0) governor_.emplace(target_words);
}

engine::TextState::Delta TextStateOfAnswer::Append(int32_t token_id) {
  Delta delta;
  if (target_reached_) return delta;
  delta.stop_string = stop_matcher_.Append(detokenizer_.Append(token_id), delta.text);
  if (!governor_.has_value()) {
    words_.Append(delta.text);
  } else if (const std::optional<size_t> end = governor_->Append(delta.text, &words_)) {
    delta.text.resize(*end);
    delta.stop_string.reset();
    delta.target_reached = target_reached_ = true;
  }
  return delta;
}

std::string TextStateOfAnswer::Finish() {
  std::string text;
  // A stop string that holds U+FFFD may match only now.
  if (!stop_matcher_.Append(detokenizer_.Finish(), text).has_value()) stop_matcher_.Finish(text);
  words_.Append(text);
  return text;
}

std::unique_ptr<engine::TextState> TextStateOfAnswerFactory::Create(
    const std::vector<std::string>& stop_strings, int64_t target_words) const {
  return std::make_unique<TextStateOfAnswer>(tokenizer_, words_, stop_strings, target_words);
}

}  // namespace longhand::input
