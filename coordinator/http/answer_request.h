// The JSON of /v1/chat/completions, /v1/completions and /v1/documents becomes a request as gRPC has
// it.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/http/request_fields.h"
#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::http {

struct AnswerRequest {
  v1::GenerateRequest wire;
  // The field that asks for `wire`'s constraint: "response_format", "guided_regex" ...
  std::string constraint_field;
  // Of a document: its instruction and plan; all the rest is in `wire`.
  v1::WriteDocumentRequest document;
  journal::v1::AnswerForm form;
  // Of several prompts, the requests of those after the first.
  std::vector<v1::GenerateRequest> further;
  bool stream = false;
  std::optional<bool> bare_events;  // unset: as the client reads events
  // Pictures that are elsewhere: the index of the one in `wire` that is to be filled, and its URL.
  std::vector<std::pair<int, std::string>> image_urls;
};

// All: an error is about the parameter at fault, and says what was seen and what is allowed.
// Numbers that the request preparer checks are left to it.
Status ParseChatRequest(const boost::json::object& body, AnswerRequest* out);
Status ParseCompletionRequest(const boost::json::object& body, AnswerRequest* out);

Status ParseDocumentRequest(const boost::json::object& body, AnswerRequest* out);

// A fault of the constraint is one of the field that asked for it.
inline Status OfField(const std::string& constraint_field, const Status& status) {
  return status.about() == "constraint" ? status.About(constraint_field) : status;
}

// How many answers the request is for.
inline uint32_t NumChoices(const v1::GenerateRequest& wire) {
  return wire.sampling().has_n() ? wire.sampling().n() : 1;
}

// The document's whole request, out of the two.
v1::WriteDocumentRequest TakeDocument(AnswerRequest& request);

// What all have: model, sampling, what is returned, and Longhand's own.
void ParseCommonFields(RequestFields& fields, AnswerRequest* out);

// vLLM's "prompt_logprobs", of both kinds of completion.
void ParsePromptLogprobs(RequestFields& fields, AnswerRequest* out);

// The form that answers are held to, under the names of OpenAI and of vLLM.
void ParseConstraint(RequestFields& fields, AnswerRequest* out);

// Of "chat_template_kwargs": Qwen2.5-VL's template knows one.
void ParseTemplateArguments(RequestFields& fields, AnswerRequest* out);

// Of "messages": text and pictures.
Status ParseMessages(const boost::json::value& messages, AnswerRequest* out);
// Of "images": a list of URLs.
Status ParseImages(const boost::json::value& images, AnswerRequest* out);

}  // namespace longhand::http
