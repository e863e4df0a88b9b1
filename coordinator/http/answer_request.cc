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

// What a document takes as a chat completion does not.
void RefuseOfAnswers(RequestFields& fields) {
  fields.Int("n", 1, 1);
  fields.Refuse("best_of", "a document is one");
  for (const char* name : {"stop", "stop_token_ids"})
    fields.Refuse(name, "a document ends with its last section");
  fields.Int("min_tokens", 0, 0);
  fields.Refuse("ignore_eos", "a document ends with its last section");
  fields.Refuse("logit_bias", "a document is several answers, its outline one of them");
  for (const char* name : {"logprobs", "top_logprobs", "return_token_ids", "prompt_token_ids"})
    fields.Refuse(name, "a document is text");
  fields.Refuse("stream_options", "the last event of a document has the usage");
  fields.Refuse("chat_template_kwargs", "a document's prompts are not the client's");
}

// Text and pictures of the one message.
void TakeInstruction(RequestFields& fields, AnswerRequest* out) {
  const v1::ChatMessages messages = std::move(*out->wire.mutable_messages());
  out->wire.clear_input();
  if (messages.messages_size() != 1 || messages.messages(0).role() != "user") {
    return fields.Fail("messages", InvalidArgument("messages has ", messages.messages_size(),
                                                   " messages; a document takes one of a user"));
  }
  for (const v1::ContentPart& part : messages.messages(0).content())
    out->document.mutable_instruction()->append(part.text());
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

std::optional<Fault> ParseDocumentRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_DOCUMENT);
  RefuseOfAnswers(fields);
  ParseCommonFields(fields, out);
  if (out->wire.has_constraint()) {
    fields.Fail("response_format",
                InvalidArgument("response_format, or its like, is set: a document is free text"));
  }
  if (auto plan = fields.String("plan")) out->document.set_plan(std::move(*plan));
  const json::value* messages = fields.Find("messages");
  if (auto instruction = fields.String("instruction")) {
    if (messages != nullptr) fields.Fail("messages", "instruction is given already");
    out->document.set_instruction(std::move(*instruction));
  } else if (messages == nullptr) {
    fields.Fail("instruction", "it must say what to write");
  } else if (const Status status = ParseMessages(*messages, out); !status.ok()) {
    fields.Fail("messages", status);
  } else {
    TakeInstruction(fields, out);
  }
  if (const json::value* images = fields.Find("images")) {
    if (const Status status = ParseImages(*images, out); !status.ok())
      fields.Fail("images", status);
  }
  return fields.fault();
}

v1::WriteDocumentRequest TakeDocument(AnswerRequest& request) {
  v1::WriteDocumentRequest document = std::move(request.document);
  v1::GenerateRequest& wire = request.wire;
  document.set_request_id(wire.request_id());
  document.set_model(wire.model());
  document.mutable_images()->Swap(wire.mutable_images());
  if (wire.has_length()) *document.mutable_length() = wire.length();
  *document.mutable_sampling() = wire.sampling();
  document.set_on_disconnect(wire.on_disconnect());
  document.set_priority(wire.priority());
  document.set_cache_salt(wire.cache_salt());
  return document;
}

}  // namespace longhand::http
