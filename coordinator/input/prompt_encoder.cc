#include "coordinator/input/prompt_encoder.h"

#include <algorithm>

#include "coordinator/input/chat_json.h"

namespace longhand::input {
namespace {

// Composition (NFC) turns at most four bytes into one before the text is cut into tokens.
constexpr size_t kMaxComposition = 4;
// Prose has 4 bytes a token; longer texts than this are counted before they are encoded as a whole.
constexpr size_t kPieceBytesPerToken = 16;

std::vector<std::string_view> TextsOf(const ChatPrompt& chat) {
  std::vector<std::string_view> texts;
  for (const ChatMessage& message : chat.messages) {
    for (const ContentPart& part : message.parts) texts.push_back(part.text);
  }
  return texts;
}

Status CheckMessages(const ChatPrompt& chat, size_t num_images) {
  if (chat.messages.empty()) return InvalidField("messages", " is empty; it needs at least one");
  size_t num_parts = 0;
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    const ChatMessage& message = chat.messages[i];
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      return InvalidArgument("message ", i, " has the role \"", message.role,
                             "\"; it must be system, user or assistant")
          .About("messages");
    }
    for (const ContentPart& part : message.parts) num_parts += part.is_image ? 1 : 0;
  }
  if (num_parts != num_images) {
    return InvalidArgument("the messages have ", num_parts, " image parts, but the request has ",
                           num_images, " images")
        .About("messages");
  }
  return OkStatus();
}

// For a template that changes the text: what holds no beginning of a control token cannot become
// one.
Status CheckHarmless(const shim::Tokenizer& tokenizer, const ChatPrompt& chat) {
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    for (const ContentPart& part : chat.messages[i].parts) {
      if (tokenizer.MayBeginControlToken(part.text)) {
        return InvalidArgument(
                   "message ", i,
                   " holds a character that begins control tokens, and the chat template "
                   "changes its text, so that the two cannot be told apart")
            .About("messages");
      }
    }
  }
  return OkStatus();
}

}  // namespace

PromptEncoder::PromptEncoder(const shim::Tokenizer& tokenizer,
                             const shim::ChatTemplate& chat_template,
                             const Limits& limits)
    : tokenizer_(tokenizer), chat_template_(chat_template), limits_(limits) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    longest_token_bytes_ = std::max(longest_token_bytes_, tokenizer.TokenBytes(id).size());
  }
}

Result<std::vector<int32_t>> PromptEncoder::Encode(const PromptInput& input,
                                                   size_t num_images) const {
  Result<std::vector<int32_t>> ids = std::holds_alternative<ChatPrompt>(input)
                                         ? EncodeChat(std::get<ChatPrompt>(input), num_images)
                                     : std::holds_alternative<TextPrompt>(input)
                                         ? EncodeText(std::get<TextPrompt>(input))
                                         : std::get<TokenPrompt>(input).token_ids;
  if (!ids.ok()) return ids;
  LONGHAND_RETURN_IF_ERROR(CheckTokens(*ids));
  if (ids->empty())
    return InvalidArgument("the prompt is empty; it needs at least one token").About("prompt");
  const int64_t num_tokens = static_cast<int64_t>(ids->size());
  if (num_tokens > limits_.max_model_len) {
    return InvalidArgument("the prompt has ", num_tokens, " tokens; the context holds ",
                           limits_.max_model_len)
        .About(kContextLength);
  }
  if (std::find(ids->begin(), ids->end(), limits_.video_token_id) != ids->end()) {
    return Unimplemented(
        "the prompt has a video placeholder; videos are not supported, images are");
  }
  return ids;
}

Result<std::vector<int32_t>> PromptEncoder::EncodeChat(const ChatPrompt& chat,
                                                       size_t num_images) const {
  LONGHAND_RETURN_IF_ERROR(CheckMessages(chat, num_images));
  const std::vector<std::string_view> texts = TextsOf(chat);
  // Messages without a text take a template as long as others, and are tokens all the same.
  if (std::ssize(chat.messages) + std::ssize(texts) > limits_.max_model_len) {
    return InvalidArgument("the prompt has ", chat.messages.size(), " messages with ", texts.size(),
                           " parts; the context holds ", limits_.max_model_len, " tokens")
        .About(kContextLength);
  }
  LONGHAND_RETURN_IF_ERROR(CheckSize(texts));
  LONGHAND_ASSIGN_OR_RETURN(const shim::RenderedChat rendered,
                            chat_template_.Render(ChatTemplateInput(chat)));
  if (!rendered.literal_known) LONGHAND_RETURN_IF_ERROR(CheckHarmless(tokenizer_, chat));
  return tokenizer_.EncodeAround(rendered.text, rendered.literal);
}

Result<std::vector<int32_t>> PromptEncoder::EncodeText(const TextPrompt& prompt) const {
  const std::string_view text = prompt.text;
  LONGHAND_RETURN_IF_ERROR(CheckSize({&text, 1}));
  return tokenizer_.Encode(prompt.text, shim::ControlTokens::kParse);
}

// A tokenizer may know more tokens than the embedding has rows.
Status PromptEncoder::CheckTokens(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= limits_.vocab_size) {
      return InvalidArgument("token id ", i, " of the prompt is ", ids[i], "; it must be in [0, ",
                             limits_.vocab_size, ")")
          .About("prompt");
    }
  }
  return OkStatus();
}

// Refuses early what cannot fit: to tokenise it would take seconds first, and gigabytes. A long
// text is counted a piece at a time, until there are too many tokens; cuts hardly make any. What is
// left over is no piece.
Status PromptEncoder::CheckSize(std::span<const std::string_view> texts) const {
  const size_t context = static_cast<size_t>(limits_.max_model_len);
  const size_t max_bytes = context * longest_token_bytes_ * kMaxComposition;
  const size_t piece_bytes = context * kPieceBytesPerToken;
  size_t num_bytes = 0;
  for (const std::string_view text : texts) num_bytes += text.size();
  if (num_bytes > max_bytes) {
    return InvalidArgument("the prompt has ", num_bytes, " bytes; at most ", max_bytes,
                           " can fit the context of ", context, " tokens")
        .About(kContextLength);
  }
  if (num_bytes <= piece_bytes) return OkStatus();
  std::string piece;
  size_t num_counted = 0, num_tokens = 0;
  for (std::string_view text : texts) {
    while (!text.empty()) {
      const size_t taken = std::min(text.size(), piece_bytes - piece.size());
      piece += text.substr(0, taken);
      text.remove_prefix(taken);
      if (piece.size() < piece_bytes) continue;
      LONGHAND_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                                tokenizer_.Encode(piece, shim::ControlTokens::kPlainText));
      num_counted += piece.size();
      num_tokens += ids.size();
      piece.clear();
      if (num_tokens <= 2 * context) continue;
      return InvalidArgument("the prompt has ", num_bytes, " bytes, of which the first ",
                             num_counted, " alone are ", num_tokens, " tokens; the context holds ",
                             context);
    }
  }
  return OkStatus();
}

}  // namespace longhand::input
