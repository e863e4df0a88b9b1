#include "coordinator/http/error_response.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <string_view>

#include "coordinator/input/utf8_decoder.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

// The fields that errors of the request preparer begin with.
constexpr std::array<std::string_view, 22> kParameters = {"temperature",
                                                          "top_p",
                                                          "top_k",
                                                          "min_p",
                                                          "seed",
                                                          "n",
                                                          "stop",
                                                          "stop_token_ids",
                                                          "max_tokens",
                                                          "min_tokens",
                                                          "logprobs",
                                                          "repetition_penalty",
                                                          "presence_penalty",
                                                          "frequency_penalty",
                                                          "logit_bias",
                                                          "request_id",
                                                          "from",
                                                          "priority",
                                                          "cache_salt",
                                                          "instruction",
                                                          "plan",
                                                          "target_words"};

// Of several prompts, the one that is at fault: "prompt 3: ", and what follows.
constexpr std::string_view kOfPrompt = "prompt ";

std::string_view WithoutPrompt(std::string_view message) {
  if (!message.starts_with(kOfPrompt)) return message;
  const size_t end = message.find_first_not_of("0123456789", kOfPrompt.size());
  if (end == std::string_view::npos || !message.substr(end).starts_with(": ")) return message;
  return message.substr(end + 2);
}

bool IsAboutTheContext(const std::string& message) {
  const std::string_view fault = WithoutPrompt(message);
  return fault.starts_with("the prompt has ") && fault.find(" tokens") != std::string_view::npos;
}

bool IsAboutTheModel(const Status& status) {
  return status.code() == StatusCode::kNotFound &&
         WithoutPrompt(status.message()).starts_with("the model ");
}

std::string ParamOf(const Status& status) {
  const std::string_view message = WithoutPrompt(status.message());
  if (IsAboutTheModel(status)) return "model";
  if (status.code() != StatusCode::kInvalidArgument) return "";
  const std::string_view word = message.substr(0, message.find(' '));
  if (std::find(kParameters.begin(), kParameters.end(), word) != kParameters.end())
    return std::string(word);
  for (const char* about : {"image ", "message ", "the request has "})
    if (message.starts_with(about)) return "messages";
  if (message.starts_with("a stop string ")) return "stop";
  if (IsAboutTheContext(status.message())) return "max_tokens";
  for (const char* about :
       {"the prompt is ", "the text has ", "token id ", "the request asks for "})
    if (message.starts_with(about)) return "prompt";
  return message.size() < status.message().size() ? "prompt" : "";
}

const char* TypeOf(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return http_status < 500 ? "invalid_request_error" : "server_error";
  }
}

// OpenAI's own codes where clients look for them.
json::value CodeOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kUnauthenticated:
      return "invalid_api_key";
    case StatusCode::kNotFound:
      return IsAboutTheModel(status) ? "model_not_found" : "not_found";
    case StatusCode::kInvalidArgument:
      if (IsAboutTheContext(status.message())) return "context_length_exceeded";
      return nullptr;
    case StatusCode::kResourceExhausted:
      return "rate_limit_exceeded";
    case StatusCode::kUnimplemented:
      return "unsupported_parameter";
    default:
      return nullptr;
  }
}

// A path may hold bytes that are no character.
std::string WholeCharacters(const std::string& text) {
  std::string out;
  input::Utf8Decoder decoder;
  decoder.Append(text, out);
  decoder.Finish(out);
  return out;
}

json::object Error(const std::string& message,
                   const char* type,
                   const std::string& param,
                   json::value code) {
  json::value param_value = nullptr;
  if (!param.empty()) param_value = param;
  return {{"error",
           {{"message", WholeCharacters(message)},
            {"type", type},
            {"param", param_value},
            {"code", code}}}};
}

}  // namespace

int HttpStatusOf(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return 200;
    case StatusCode::kInvalidArgument:
    case StatusCode::kFailedPrecondition:
      return 400;
    case StatusCode::kUnauthenticated:
      return 401;
    case StatusCode::kPermissionDenied:
      return 403;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kAlreadyExists:
    case StatusCode::kAborted:
      return 409;
    case StatusCode::kResourceExhausted:
      return 429;
    case StatusCode::kCancelled:
      return 499;
    case StatusCode::kUnimplemented:
      return 501;
    case StatusCode::kUnavailable:
      return 503;
    case StatusCode::kDeadlineExceeded:
      return 504;
    case StatusCode::kUnknown:
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
      return 500;
  }
  return 500;
}

std::string ErrorJson(const Status& status, const std::string& param) {
  return json::serialize(Error(status.message(), TypeOf(HttpStatusOf(status.code())),
                               param.empty() ? ParamOf(status) : param, CodeOf(status)));
}

Response ErrorResponse(const Status& status, const std::string& param) {
  Response response{.status = HttpStatusOf(status.code()), .body = ErrorJson(status, param)};
  int64_t retry_after = status.retry_after_seconds();
  if (retry_after == 0 && (response.status == 429 || response.status == 503)) retry_after = 1;
  if (retry_after > 0) response.headers.emplace_back("Retry-After", std::to_string(retry_after));
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  // OpenAI's clients try again after any 5xx unless they are told not to.
  if (response.status == 501) response.headers.emplace_back("x-should-retry", "false");
  return response;
}

Response ErrorResponse(int http_status, const std::string& message) {
  return {.status = http_status,
          .body = json::serialize(Error(message, TypeOf(http_status), "", nullptr))};
}

}  // namespace longhand::http
