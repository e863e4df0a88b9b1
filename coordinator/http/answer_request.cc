#include "coordinator/http/answer_request.h"

#include "common/step_plan.h"
#include "coordinator/api/document_desk.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

// Of all prompts together: each is a place in the queue.
constexpr int64_t kMaxAnswers = 256;

// A text or a list of token ids. False for anything else.
bool SetPrompt(const json::value& prompt, v1::GenerateRequest* wire) {
  if (const json::string* text = prompt.if_string()) {
    wire->set_text(std::string(*text));
    return true;
  }
  const json::array* ids = prompt.if_array();
  if (ids == nullptr || ids->empty()) return false;
  for (const json::value& id : *ids) {
    const std::optional<int32_t> number = TokenId(id);
    if (!number) return false;
    wire->mutable_token_ids()->add_ids(*number);
  }
  return true;
}

// What is of one stream that a client can come back to.
void RefuseOfOnePrompt(RequestFields& fields, const AnswerRequest& request) {
  const auto refuse = [&](const char* name) {
    fields.Fail(name, InvalidArgument(name, " is set, and prompt has ", 1 + request.further.size(),
                                      " prompts; answers to several end with the connection, and "
                                      "nobody can come back to them"));
  };
  if (!request.wire.request_id().empty()) refuse("request_id");
  if (request.wire.on_disconnect() == v1::ON_DISCONNECT_CONTINUE) refuse("on_disconnect");
}

// A text, a list of token ids, or a list of either.
void ParsePrompt(RequestFields& fields, AnswerRequest* out) {
  constexpr const char* kAllowed = "it must be a string, a list of token ids, or a list of either";
  const json::value* prompt = fields.Find("prompt");
  if (prompt == nullptr) return fields.Fail("prompt", kAllowed);
  const json::array* prompts = prompt->if_array();
  if (prompts == nullptr || prompts->empty() || prompts->front().is_number()) {
    if (!SetPrompt(*prompt, &out->wire)) fields.Fail("prompt", kAllowed);
    return;
  }
  const int64_t num_choices = NumChoices(out->wire);
  const auto num_prompts = static_cast<int64_t>(prompts->size());
  if (num_prompts > 1 && num_prompts * num_choices > kMaxAnswers) {
    return fields.Fail(
        "prompt", InvalidArgument("prompt has ", num_prompts, " prompts and n is ", num_choices,
                                  "; together at most ", kMaxAnswers, " answers are given"));
  }
  out->further.assign(prompts->size() - 1, out->wire);
  for (size_t i = 0; i < prompts->size(); ++i) {
    const bool is_list = (*prompts)[i].is_array() == prompts->front().is_array();
    if (!is_list || !SetPrompt((*prompts)[i], i == 0 ? &out->wire : &out->further[i - 1])) {
      return fields.Fail(
          "prompt",
          InvalidArgument("prompt ", i, " is ", Shown((*prompts)[i]),
                          "; all must be strings, or all lists of at least one token id"));
    }
  }
  if (num_prompts > 1) RefuseOfOnePrompt(fields, *out);
}

// The prompt as the beginning of each answer.
void ParseEcho(RequestFields& fields, std::optional<int64_t> logprobs, AnswerRequest* out) {
  if (!fields.Bool("echo", false)) return;
  v1::Return* wanted = out->wire.mutable_return_();
  out->form.set_num_echoes(NumChoices(out->wire));
  if (!wanted->prompt_token_ids()) {
    wanted->set_prompt_token_ids(true);
    out->form.set_hides_prompt_token_ids(true);
  }
  if (!logprobs) return;
  if (wanted->prompt_logprobs() && wanted->top_prompt_logprobs() != *logprobs) {
    return fields.Fail(
        "prompt_logprobs",
        InvalidArgument("prompt_logprobs is ", wanted->top_prompt_logprobs(),
                        "; with echo it must be the same as logprobs, which is ", *logprobs));
  }
  out->form.set_echoes_logprobs(true);
  wanted->set_prompt_logprobs(true);
  wanted->set_top_prompt_logprobs(static_cast<int32_t>(*logprobs));
}

// What a document takes as a chat completion does not.
void RefuseOfAnswers(RequestFields& fields) {
  fields.Int("n", 1, 1);
  fields.Int("target_words", 1, api::kMaxDocumentWords);
  fields.Refuse("best_of", "a document is one");
  for (const char* name : {"stop", "stop_token_ids"})
    fields.Refuse(name, "a document ends with its last section");
  fields.Int("min_tokens", 0, 0);
  fields.Refuse("ignore_eos", "a document ends with its last section");
  fields.Refuse("logit_bias", "a document is several answers, its outline one of them");
  for (const char* name : {"logprobs", "top_logprobs", "prompt_logprobs", "echo",
                           "return_token_ids", "prompt_token_ids"})
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

Status ParseChatRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_CHAT_COMPLETION);
  fields.Refuse("echo", "a chat is no beginning of its answer");
  ParseCommonFields(fields, out);
  ParsePromptLogprobs(fields, out);
  const auto top = fields.Int("top_logprobs", 0, kMaxTopLogprobs);
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
  return fields.status();
}

Status ParseCompletionRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_TEXT_COMPLETION);
  ParseCommonFields(fields, out);
  ParsePromptLogprobs(fields, out);
  const auto logprobs = fields.Int("logprobs", 0, kMaxTopLogprobs);
  if (logprobs) out->wire.mutable_return_()->set_logprobs(static_cast<int32_t>(*logprobs));
  ParseEcho(fields, logprobs, out);
  const auto best_of = fields.Int("best_of", 1, 16);
  const int64_t num_choices = NumChoices(out->wire);
  if (best_of && *best_of != num_choices)
    fields.Fail("best_of", "it must be the same as n: no answer is thrown away");
  ParsePrompt(fields, out);
  return fields.status();
}

Status ParseDocumentRequest(const json::object& body, AnswerRequest* out) {
  RequestFields fields(body);
  out->form.set_kind(journal::v1::AnswerForm::KIND_DOCUMENT);
  RefuseOfAnswers(fields);
  ParseCommonFields(fields, out);
  if (out->wire.has_constraint()) {
    fields.Fail(out->constraint_field,
                InvalidArgument(out->constraint_field, " is set: a document is free text"));
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
  return fields.status();
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
