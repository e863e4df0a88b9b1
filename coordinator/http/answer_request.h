// The JSON of /v1/chat/completions and /v1/completions becomes a request as gRPC has it.
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
  journal::v1::AnswerForm form;
  bool stream = false;
  // Pictures that are elsewhere: the index of the one in `wire` that is to be filled, and its URL.
  std::vector<std::pair<int, std::string>> image_urls;
};

// Both: a fault names the parameter, what was seen and what is allowed. Numbers that the request
// preparer checks are left to it.
std::optional<Fault> ParseChatRequest(const boost::json::object& body, AnswerRequest* out);
std::optional<Fault> ParseCompletionRequest(const boost::json::object& body, AnswerRequest* out);

// What both have: model, sampling, what is returned, and Longhand's own.
void ParseCommonFields(RequestFields& fields, AnswerRequest* out);

// Of "chat_template_kwargs": Qwen2.5-VL's template knows one.
void ParseTemplateArguments(RequestFields& fields, AnswerRequest* out);

// Of "messages": text and pictures.
Status ParseMessages(const boost::json::value& messages, AnswerRequest* out);

}  // namespace longhand::http
