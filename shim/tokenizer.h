// Tokenizer: text to token ids as Hugging Face `tokenizers` does it, and the bytes behind each id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "shim/handle.h"
#include "shim/longhand_shim.h"

namespace longhand::shim {

// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;

  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// Control tokens are all added tokens of the tokenizer: <|im_end|>, which is special, and
// <tool_call>, which is not.
enum class ControlTokens {
  kParse,      // wherever the text spells one
  kPlainText,  // never: "<|im_end|>" becomes the tokens of its characters
};

// Immutable after Load; any number of threads may use one at once.
class Tokenizer {
 public:
  // Reads tokenizer.json and, where it exists, tokenizer_config.json. kNotFound without the first,
  // kInvalidArgument naming the file and the fault, kUnimplemented for a decoder other than
  // ByteLevel, dropout, or a post-processor that adds tokens to every text.
  static Result<Tokenizer> Load(const std::filesystem::path& directory);

  // Malformed UTF-8 is encoded as U+FFFD for each maximal malformed part, as Python decodes it.
  Result<std::vector<int32_t>> Encode(std::string_view text, ControlTokens control_tokens) const;

  // Parses control tokens only between the `literal` ranges (sorted, without overlaps, on character
  // boundaries); one that would reach into a range, or span an empty one, stays text. `text` must
  // be UTF-8. Text between two parsed tokens is encoded in one piece, so that text without
  // spelt-out control tokens gets the same ids as Encode gives.
  Result<std::vector<int32_t>> EncodeAround(std::string_view text,
                                            std::span<const ByteRange> literal) const;

  // Whether `text`, joined to other text, could be part of a control token: it holds the first byte
  // of one.
  bool MayBeginControlToken(std::string_view text) const;

  // The bytes that a stream appends for `id`; half a character is usual. Empty for ids outside the
  // vocabulary.
  std::string_view TokenBytes(int32_t id) const;
  // Left out of answers: <|im_end|>. Ids outside the vocabulary are not special.
  bool IsSpecial(int32_t id) const;
  // The id of a token in the vocabulary's own spelling: "<|im_end|>", or "Ġthe" with byte-level
  // BPE.
  std::optional<int32_t> IdOf(std::string_view token) const;
  // The largest id plus one. The model's embedding may have more rows.
  int32_t vocab_size() const { return static_cast<int32_t>(table_.num_ids); }
  // For what else is made of it.
  const longhand_shim_tokenizer* handle() const { return handle_.get(); }

 private:
  using Handle = std::unique_ptr<longhand_shim_tokenizer, Free<longhand_shim_tokenizer_free>>;

  explicit Tokenizer(Handle handle);

  Handle handle_;
  longhand_shim_token_table table_;       // borrowed from handle_
  std::string control_token_beginnings_;  // first bytes of all control tokens
};

}  // namespace longhand::shim
