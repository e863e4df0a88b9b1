#include "coordinator/input/detokenizer.h"

namespace longhand::input {

std::string Detokenizer::Append(int32_t token_id) {
  std::string text;
  if (special_tokens_ == SpecialTokens::kKeep || !tokenizer_.IsSpecial(token_id)) {
    decoder_.Append(tokenizer_.TokenBytes(token_id), text);
  }
  return text;
}

std::string Detokenizer::Finish() {
  std::string text;
  decoder_.Finish(text);
  return text;
}

std::string Detokenize(const shim::Tokenizer& tokenizer,
                       std::span<const int32_t> token_ids,
                       SpecialTokens special_tokens) {
  Detokenizer detokenizer(tokenizer, special_tokens);
  std::string text;
  for (const int32_t id : token_ids) text += detokenizer.Append(id);
  return text + detokenizer.Finish();
}

}  // namespace longhand::input
