// Detokenizer: a stream of token ids becomes text, whole characters only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "coordinator/input/utf8_decoder.h"
#include "shim/tokenizer.h"

namespace longhand::input {

enum class SpecialTokens {
  kSkip,  // as answers are shown: without <|im_end|>; <tool_call>, which is not special, stays
  kKeep,
};

// Works by bytes, so a token costs the same however long the text is. Any thread, one at a time.
class Detokenizer {
 public:
  // `tokenizer` must outlive this.
  Detokenizer(const shim::Tokenizer& tokenizer, SpecialTokens special_tokens)
      : tokenizer_(tokenizer), special_tokens_(special_tokens) {}

  // The characters that this token completes. Ids outside the vocabulary have no text.
  std::string Append(int32_t token_id);
  // The tokens end here: half a character becomes U+FFFD.
  std::string Finish();

 private:
  const shim::Tokenizer& tokenizer_;
  SpecialTokens special_tokens_;
  Utf8Decoder decoder_;
};

// All at once.
std::string Detokenize(const shim::Tokenizer& tokenizer,
                       std::span<const int32_t> token_ids,
                       SpecialTokens special_tokens);

}  // namespace longhand::input
