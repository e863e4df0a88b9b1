#include <absl/strings/escaping.h>

#include <boost/json.hpp>

#include "client/bench/bench_target.h"
#include "client/bench/sse_parser.h"
#include "common/curl/curl_request.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMaxModelsBytes = size_t{1} << 20;

std::string Url(const OpenAiAddress& address, const std::string& path) {
  std::string base = address.base_url;
  while (!base.empty() && base.back() == '/') base.pop_back();
  const bool has_version = base.size() >= 3 && base.substr(base.size() - 3) == "/v1";
  return base + (has_version ? "" : "/v1") + path;
}

std::string Body(const std::string& model, const BenchRequest& request) {
  json::value content = json::string(request.prompt);
  if (!request.images->empty()) {
    json::array parts;
    for (const BenchImage& image : *request.images) {
      const std::string url = "data:" + image.type + ";base64," + absl::Base64Escape(image.bytes);
      parts.push_back({{"type", "image_url"}, {"image_url", {{"url", url}}}});
    }
    parts.push_back({{"type", "text"}, {"text", request.prompt}});
    content = std::move(parts);
  }
  json::object body = {
      {"model", model},
      {"messages", json::array{json::object{{"role", "user"}, {"content", std::move(content)}}}},
      {"max_tokens", request.max_tokens},
      {"seed", request.seed},
      {"stream", true},
      {"stream_options", {{"include_usage", true}}}};
  if (request.temperature) body["temperature"] = *request.temperature;
  if (request.ignore_eos) body["ignore_eos"] = true;  // vLLM's extension, and ours
  return json::serialize(body);
}

const json::value* Find(const json::value& value, const char* key) {
  const json::object* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(key);
}

int64_t Int(const json::value& value, const char* key) {
  const json::value* found = Find(value, key);
  return found != nullptr && found->is_int64() ? found->get_int64() : 0;
}

// The message of OpenAI's error object, or the text itself.
std::string ErrorText(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::value* found = error ? nullptr : Find(value, "error");
  const json::value* message = found == nullptr ? nullptr : Find(*found, "message");
  if (message != nullptr && message->is_string()) return std::string(message->get_string());
  return std::string(text.substr(0, 200));
}

struct Answer {
  const CurlRequest& request;
  const BenchTarget::OnPiece& on_piece;
  SseParser parser;
  BenchUsage usage;
  bool is_over = false;
  Status status;
  std::string error_body;

  void OnEvent(std::string_view data) {
    if (data == "[DONE]") is_over = true;
    if (data == "[DONE]" || !status.ok()) return;
    json::error_code error;
    const json::value chunk = json::parse(data, error);
    if (error) {
      status = Internal("an event is not JSON: ", data.substr(0, 100));
    } else if (Find(chunk, "error") != nullptr) {
      status = Internal(ErrorText(data));
    } else {
      TakeChunk(chunk);
    }
  }

  void TakeChunk(const json::value& chunk) {
    if (const json::value* found = Find(chunk, "usage"); found != nullptr && found->is_object())
      usage = {Int(*found, "prompt_tokens"), Int(*found, "completion_tokens")};
    const json::value* choices = Find(chunk, "choices");
    if (choices == nullptr || !choices->is_array()) return;
    for (const json::value& choice : choices->get_array()) {
      const json::value* delta = Find(choice, "delta");
      const json::value* text = delta == nullptr ? nullptr : Find(*delta, "content");
      if (text != nullptr && text->is_string() && !text->get_string().empty())
        on_piece(text->get_string());
    }
  }
};

size_t OnBody(char* data, size_t size, size_t count, void* context) {
  auto& answer = *static_cast<Answer*>(context);
  const std::string_view bytes(data, size * count);
  if (answer.request.http_status() != 200) {
    answer.error_body += bytes.substr(0, kMaxErrorBytes - answer.error_body.size());
    return bytes.size();
  }
  const Status status =
      answer.parser.Add(bytes, [&](std::string_view event) { answer.OnEvent(event); });
  if (answer.status.ok()) answer.status = status;
  return answer.status.ok() ? bytes.size() : 0;
}

void Prepare(const OpenAiAddress& address, const std::string& url, CurlRequest& request) {
  request.Begin(url, "http,https", address.ca_file);
  request.AddHeader("Content-Type: application/json");
  request.AddHeader("Expect:");  // A large body is not announced first.
  if (!address.api_key.empty()) request.AddHeader("Authorization: Bearer " + address.api_key);
  curl_easy_setopt(request.get(), CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(request.get(), CURLOPT_TIMEOUT, static_cast<long>(address.timeout.count()));
}

// The response's status code.
Result<long> Perform(const CurlRequest& request) {
  char reason[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(request.get(), CURLOPT_ERRORBUFFER, reason);
  const CURLcode code = curl_easy_perform(request.get());
  curl_easy_setopt(request.get(), CURLOPT_ERRORBUFFER, nullptr);
  if (code == CURLE_OPERATION_TIMEDOUT) return DeadlineExceeded("the answer did not come in time");
  if (code != CURLE_OK) return Unavailable(*reason == '\0' ? curl_easy_strerror(code) : reason);
  return request.http_status();
}

class OpenAiTarget final : public BenchTarget {
 public:
  explicit OpenAiTarget(OpenAiAddress address) : address_(std::move(address)) {}

  Result<BenchUsage> Ask(const BenchRequest& request, const OnPiece& on_piece) override {
    const std::string url = Url(address_, "/chat/completions");
    const std::string body = Body(address_.model, request);
    Prepare(address_, url, request_);
    Answer answer{.request = request_, .on_piece = on_piece};
    CURL* const curl = request_.get();
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    const Result<long> http = Perform(request_);
    if (!answer.status.ok()) return answer.status;
    if (!http.ok()) return http.status();
    if (*http != 200) return Internal("HTTP ", *http, ": ", ErrorText(answer.error_body));
    if (!answer.is_over) return Status(StatusCode::kDataLoss, "the stream ends without [DONE]");
    return answer.usage;
  }

 private:
  const OpenAiAddress address_;
  CurlRequest request_;
};

size_t Append(char* data, size_t size, size_t count, void* context) {
  auto& text = *static_cast<std::string*>(context);
  if (text.size() + size * count > kMaxModelsBytes) return 0;
  text.append(data, size * count);
  return size * count;
}

}  // namespace

std::unique_ptr<BenchTarget> MakeOpenAiTarget(OpenAiAddress address) {
  return std::make_unique<OpenAiTarget>(std::move(address));
}

Result<std::string> FirstModel(const OpenAiAddress& address) {
  CurlRequest request;
  const std::string url = Url(address, "/models");
  Prepare(address, url, request);
  std::string text;
  curl_easy_setopt(request.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(request.get(), CURLOPT_WRITEDATA, &text);
  LONGHAND_ASSIGN_OR_RETURN(const long http, Perform(request));
  if (http != 200) return Internal(url, " answered ", http, ": ", ErrorText(text));
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::value* data = error ? nullptr : Find(value, "data");
  const bool has_one = data != nullptr && data->is_array() && !data->get_array().empty();
  const json::value* id = has_one ? Find(data->get_array()[0], "id") : nullptr;
  if (id == nullptr || !id->is_string()) return Internal(url, " lists no model; --model names one");
  return std::string(id->get_string());
}

}  // namespace longhand::client
