#include "client/openai/openai_http.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr size_t kMaxAnswerBytes = size_t{64} << 20;

size_t Append(char* data, size_t size, size_t count, void* context) {
  auto& text = *static_cast<std::string*>(context);
  if (text.size() + size * count > kMaxAnswerBytes) return 0;
  text.append(data, size * count);
  return size * count;
}

StatusCode CodeOf(long http) {
  switch (http) {
    case 400:
    case 413:
    case 422:
      return StatusCode::kInvalidArgument;
    case 401:
      return StatusCode::kUnauthenticated;
    case 403:
      return StatusCode::kPermissionDenied;
    case 404:
      return StatusCode::kNotFound;
    case 429:
      return StatusCode::kResourceExhausted;
    case 502:
    case 503:
      return StatusCode::kUnavailable;
    case 504:
      return StatusCode::kDeadlineExceeded;
    default:
      return StatusCode::kInternal;
  }
}

}  // namespace

std::string OpenAiUrl(const OpenAiAddress& address, const std::string& path) {
  std::string base = address.base_url;
  while (!base.empty() && base.back() == '/') base.pop_back();
  const bool has_version = base.size() >= 3 && base.substr(base.size() - 3) == "/v1";
  return base + (has_version ? "" : "/v1") + path;
}

const json::value* FindField(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(key);
}

std::string OpenAiErrorText(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::value* found = error ? nullptr : FindField(value, "error");
  const json::value* message = found == nullptr ? nullptr : FindField(*found, "message");
  if (message != nullptr && message->is_string()) return std::string(message->get_string());
  return std::string(text.substr(0, 200));
}

Status OpenAiError(long http, std::string_view body) {
  return Status(CodeOf(http), "HTTP " + std::to_string(http) + ": " + OpenAiErrorText(body));
}

void PrepareOpenAi(const OpenAiAddress& address, const std::string& url, CurlRequest& request) {
  request.Begin(url, "http,https", address.ca_file);
  request.AddHeader("Content-Type: application/json");
  request.AddHeader("Expect:");  // A large body is not announced first.
  if (!address.api_key.empty()) request.AddHeader("Authorization: Bearer " + address.api_key);
  curl_easy_setopt(request.get(), CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(request.get(), CURLOPT_TIMEOUT, static_cast<long>(address.timeout.count()));
}

Result<long> PerformOpenAi(const CurlRequest& request) {
  char reason[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(request.get(), CURLOPT_ERRORBUFFER, reason);
  const CURLcode code = curl_easy_perform(request.get());
  curl_easy_setopt(request.get(), CURLOPT_ERRORBUFFER, nullptr);
  if (code == CURLE_OPERATION_TIMEDOUT) return DeadlineExceeded("the answer did not come in time");
  if (code != CURLE_OK) return Unavailable(*reason == '\0' ? curl_easy_strerror(code) : reason);
  return request.http_status();
}

Result<json::value> PostOpenAi(const OpenAiAddress& address,
                               const std::string& path,
                               const json::value& body,
                               CurlRequest& request) {
  const std::string url = OpenAiUrl(address, path);
  const std::string text = json::serialize(body);
  std::string answer;
  PrepareOpenAi(address, url, request);
  CURL* const curl = request.get();
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text.size()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  LONGHAND_ASSIGN_OR_RETURN(const long http, PerformOpenAi(request));
  if (http != 200) return OpenAiError(http, answer);
  json::error_code error;
  json::value value = json::parse(answer, error);
  if (error) return Internal(url, " answered no JSON: ", answer.substr(0, 100));
  return value;
}

Result<std::string> FirstModel(const OpenAiAddress& address) {
  CurlRequest request;
  const std::string url = OpenAiUrl(address, "/models");
  PrepareOpenAi(address, url, request);
  std::string text;
  curl_easy_setopt(request.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(request.get(), CURLOPT_WRITEDATA, &text);
  LONGHAND_ASSIGN_OR_RETURN(const long http, PerformOpenAi(request));
  if (http != 200) return Internal(url, " answered ", http, ": ", OpenAiErrorText(text));
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::value* data = error ? nullptr : FindField(value, "data");
  const bool has_one = data != nullptr && data->is_array() && !data->get_array().empty();
  const json::value* id = has_one ? FindField(data->get_array()[0], "id") : nullptr;
  if (id == nullptr || !id->is_string()) return Internal(url, " lists no model; --model names one");
  return std::string(id->get_string());
}

}  // namespace longhand::client
