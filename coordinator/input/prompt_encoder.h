// PromptEncoder: a request's prompt, in any of its forms, becomes token ids with one placeholder
// for each image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "coordinator/input/prompt.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"

namespace longhand::input {

// Immutable; any number of threads may use one at once. What it is made of must outlive it.
class PromptEncoder {
 public:
  struct Limits {
    int32_t vocab_size = 0;  // rows of the model's embedding: what token ids may be
    int32_t video_token_id = 0;
    int64_t max_model_len = 0;  // tokens of context
  };

  PromptEncoder(const shim::Tokenizer& tokenizer,
                const shim::ChatTemplate& chat_template,
                const Limits& limits);

  // kInvalidArgument for: no messages, an unknown role, another number of image parts than
  // `num_images`, an empty prompt, ids outside the vocabulary, a prompt longer than the context.
  // kUnimplemented for videos.
  Result<std::vector<int32_t>> Encode(const PromptInput& input, size_t num_images) const;

 private:
  Result<std::vector<int32_t>> EncodeChat(const ChatPrompt& chat, size_t num_images) const;
  Result<std::vector<int32_t>> EncodeText(const TextPrompt& prompt) const;
  Status CheckTokens(std::span<const int32_t> ids) const;
  Status CheckSize(std::span<const std::string_view> texts) const;

  const shim::Tokenizer& tokenizer_;
  const shim::ChatTemplate& chat_template_;
  Limits limits_;
  size_t longest_token_bytes_ = 1;
};

}  // namespace longhand::input
