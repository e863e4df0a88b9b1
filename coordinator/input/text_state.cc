#include "coordinator/input/text_state.h"

namespace longhand::input {

engine::TextState::Delta TextStateOfAnswer::Append(int32_t token_id) {
  Delta delta;
  delta.stop_string = stop_matcher_.Append(detokenizer_.Append(token_id), delta.text);
  words_.Append(delta.text);
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
    const std::vector<std::string>& stop_strings) const {
  return std::make_unique<TextStateOfAnswer>(tokenizer_, words_, stop_strings);
}

}  // namespace longhand::input
