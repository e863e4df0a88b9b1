#include "coordinator/http/answer_request.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

constexpr int32_t kMaxLogprobs = 20;

bool AddTokenIds(const json::array& ids, AnswerRequest* out) {
  for (const json::value& id : ids) {
    const std::optional<int32_t> number = TokenId(id);
    if (!number) return false;
    out->wire.mutable_token_ids()->add_ids(*number);
  }
  return true;
}

// A text, token ids, or a list of one of either.
void ParsePrompt(RequestFields& fields, AnswerRequest* out) {
  constexpr const char* kAllowed = "it must be one string, or one list of token ids";
  const json::value* prompt = fields.Find("prompt");
  if (prompt != nullptr && prompt->is_array() && prompt->get_array().size() == 1 &&
      !prompt->get_array()[0].is_number())
    prompt = &prompt->get_array()[0];
  if (prompt == nullptr) return fields.Fail("prompt", kAllowed);
  if (const json::string* text = prompt->if_string()) {
    out->wire.set_text(std::string(*text));
  } else if (!prompt->is_array() || prompt->get_array().empty() ||
             !AddTokenIds(prompt->get_array(), out)) {
    fields.Fail("prompt", kAllowed);
  }
}

}  // namespace

void ParseTemplateArguments(RequestFields& fields, AnswerRequest* out) {
  const json::object* arguments = fields.Object("chat_template_kwargs");
  if (arguments == nullptr) return;
  for (const auto& argument : *arguments) {
    if (argument.key() != "add_vision_id" || !argument.value().is_bool()) {
      return fields.Fail("chat_template_kwargs",
                         InvalidArgument("chat_template_kwargs has ", Shown(argument.key()), ": ",
                                         Shown(argument.value()),
                                         "; only 'add_vision_id' is known, true or false"));
    }
    out->wire.mutable_messages()->set_add_vision_id(argument.value().get_bool());
  }
}

std::optional<Fault> ParseChatRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_CHAT_COMPLETION);
  ParseCommonFields(fields, out);
  const auto top = fields.Int("top_logprobs", 0, kMaxLogprobs);
  if (fields.Bool("logprobs", false)) {
    out->wire.mutable_return_()->set_logprobs(static_cast<int32_t>(top.value_or(0)));
  } else if (top.value_or(0) > 0) {
    fields.Fail("top_logprobs", "it is for requests with logprobs: true");
  }
  ParseTemplateArguments(fields, out);
  if (const json::value* messages = fields.Find("messages")) {
    if (const Status status = ParseMessages(*messages, out); !status.ok())
      fields.Fail("messages", status);
  } else {
    fields.Fail("messages", "at least one is needed");
  }
  return fields.fault();
}

std::optional<Fault> ParseCompletionRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_TEXT_COMPLETION);
  ParseCommonFields(fields, out);
  if (const auto logprobs = fields.Int("logprobs", 0, kMaxLogprobs))
    out->wire.mutable_return_()->set_logprobs(static_cast<int32_t>(*logprobs));
  const auto best_of = fields.Int("best_of", 1, 16);
  const int64_t num_choices = out->wire.sampling().has_n() ? out->wire.sampling().n() : 1;
  if (best_of && *best_of != num_choices)
    fields.Fail("best_of", "it must be the same as n: no answer is thrown away");
  ParsePrompt(fields, out);
  return fields.fault();
}

}  // namespace longhand::http
