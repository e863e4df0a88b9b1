#include <boost/json.hpp>

#include "client/bench/bench_target.h"
#include "client/bench/sse_parser.h"
#include "client/openai/openai_http.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr size_t kMaxErrorBytes = 4096;

std::string Body(const std::string& model, const BenchRequest& request) {
  json::value content = json::string(request.prompt);
  if (!request.images->empty()) {
    json::array parts;
    for (const Picture& image : *request.images)
      parts.push_back({{"type", "image_url"}, {"image_url", {{"url", DataUrl(image)}}}});
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

int64_t Int(const json::value& value, const char* key) {
  const json::value* found = FindField(value, key);
  return found != nullptr && found->is_int64() ? found->get_int64() : 0;
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
    } else if (FindField(chunk, "error") != nullptr) {
      status = Internal(OpenAiErrorText(data));
    } else {
      TakeChunk(chunk);
    }
  }

  void TakeChunk(const json::value& chunk) {
    if (const json::value* found = FindField(chunk, "usage");
        found != nullptr && found->is_object())
      usage = {Int(*found, "prompt_tokens"), Int(*found, "completion_tokens")};
    const json::value* choices = FindField(chunk, "choices");
    if (choices == nullptr || !choices->is_array()) return;
    for (const json::value& choice : choices->get_array()) {
      const json::value* delta = FindField(choice, "delta");
      const json::value* text = delta == nullptr ? nullptr : FindField(*delta, "content");
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

class OpenAiTarget final : public BenchTarget {
 public:
  explicit OpenAiTarget(OpenAiAddress address) : address_(std::move(address)) {}

  Result<BenchUsage> Ask(const BenchRequest& request, const OnPiece& on_piece) override {
    const std::string url = OpenAiUrl(address_, "/chat/completions");
    const std::string body = Body(address_.model, request);
    PrepareOpenAi(address_, url, request_);
    Answer answer{.request = request_, .on_piece = on_piece};
    CURL* const curl = request_.get();
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    const Result<long> http = PerformOpenAi(request_);
    if (!answer.status.ok()) return answer.status;
    if (!http.ok()) return http.status();
    if (*http != 200) return Internal("HTTP ", *http, ": ", OpenAiErrorText(answer.error_body));
    if (!answer.is_over) return Status(StatusCode::kDataLoss, "the stream ends without [DONE]");
    return answer.usage;
  }

 private:
  const OpenAiAddress address_;
  CurlRequest request_;
};

}  // namespace

std::unique_ptr<BenchTarget> MakeOpenAiTarget(OpenAiAddress address) {
  return std::make_unique<OpenAiTarget>(std::move(address));
}

}  // namespace longhand::client
