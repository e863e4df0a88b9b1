#include "client/chat/chat_model.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

json::array Content(const ChatQuestion& question) {
  json::array parts{json::object{{"type", "text"}, {"text", question.text}}};
  for (const Picture& picture : *question.pictures)
    parts.push_back({{"type", "image_url"}, {"image_url", {{"url", DataUrl(picture)}}}});
  return parts;
}

template <typename T>
void SetIfGiven(json::object& body, std::string_view key, const std::optional<T>& value) {
  if (value) body[key] = *value;
}

json::object Body(const std::string& model, const ChatQuestion& question, bool has_extensions) {
  const bool has_pictures = question.pictures != nullptr && !question.pictures->empty();
  json::value content = json::string(question.text);
  if (has_pictures) content = Content(question);
  json::object body = {
      {"model", model},
      {"messages", json::array{json::object{{"role", "user"}, {"content", std::move(content)}}}}};
  const SamplingOptions& sampling = question.sampling;
  SetIfGiven(body, "temperature", sampling.temperature);
  SetIfGiven(body, "top_p", sampling.top_p);
  SetIfGiven(body, "max_tokens", sampling.max_tokens);
  SetIfGiven(body, "seed", sampling.seed);
  SetIfGiven(body, "presence_penalty", sampling.presence_penalty);
  SetIfGiven(body, "frequency_penalty", sampling.frequency_penalty);
  if (!has_extensions) return body;
  // Older versions of vLLM know off as -1 only.
  if (sampling.top_k) body["top_k"] = *sampling.top_k == 0 ? -1 : *sampling.top_k;
  SetIfGiven(body, "min_p", sampling.min_p);
  SetIfGiven(body, "repetition_penalty", sampling.repetition_penalty);
  if (question.target_words > 0) body["target_words"] = question.target_words;  // ours
  return body;
}

std::string StringOf(const json::value& value, std::string_view key) {
  const json::value* found = FindField(value, key);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

Result<ChatReply> ReplyOf(const json::value& answer) {
  const json::value* choices = FindField(answer, "choices");
  const bool has_one = choices != nullptr && choices->is_array() && !choices->get_array().empty();
  if (!has_one) return Internal("the answer has no choices");
  const json::value& choice = choices->get_array()[0];
  const json::value* message = FindField(choice, "message");
  if (message == nullptr) return Internal("the answer's choice has no message");
  ChatReply reply{.text = StringOf(*message, "content"),
                  .refusal = StringOf(*message, "refusal"),
                  .finish_reason = StringOf(choice, "finish_reason")};
  if (const json::value* usage = FindField(answer, "usage")) {
    const json::value* tokens = FindField(*usage, "completion_tokens");
    if (tokens != nullptr && tokens->is_int64()) reply.completion_tokens = tokens->get_int64();
  }
  return reply;
}

class OpenAiChat final : public ChatModel {
 public:
  OpenAiChat(OpenAiAddress address, bool has_extensions)
      : address_(std::move(address)), has_extensions_(has_extensions) {}

  Result<ChatReply> Ask(const ChatQuestion& question) override {
    if (question.wants_document) return Unimplemented("documents are written over gRPC");
    LONGHAND_ASSIGN_OR_RETURN(
        const json::value answer,
        PostOpenAi(address_, "/chat/completions", Body(address_.model, question, has_extensions_),
                   request_));
    return ReplyOf(answer);
  }

 private:
  const OpenAiAddress address_;
  const bool has_extensions_;
  CurlRequest request_;
};

}  // namespace

std::unique_ptr<ChatModel> MakeOpenAiChat(OpenAiAddress address, bool has_extensions) {
  return std::make_unique<OpenAiChat>(std::move(address), has_extensions);
}

}  // namespace longhand::client
