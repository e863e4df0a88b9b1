#include "coordinator/http/error_response.h"

#include <boost/json.hpp>

#include "coordinator/input/utf8_decoder.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

// OpenAI knows the context by what may be made smaller.
std::string ParamOf(const Status& status) {
  return status.about() == kContextLength ? "max_tokens" : status.about();
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
      return status.about() == "model" ? "model_not_found" : "not_found";
    case StatusCode::kInvalidArgument:
      if (status.about() == kContextLength) return "context_length_exceeded";
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

std::string ErrorJson(const Status& status) {
  return json::serialize(Error(status.message(), TypeOf(HttpStatusOf(status.code())),
                               ParamOf(status), CodeOf(status)));
}

Response ErrorResponse(const Status& status) {
  Response response{.status = HttpStatusOf(status.code()), .body = ErrorJson(status)};
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
