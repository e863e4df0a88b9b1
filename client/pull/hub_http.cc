#include "client/pull/hub_http.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "common/hub_cache.h"
#include "common/trim.h"

namespace longhand::client {
namespace {

constexpr long kConnectTimeoutS = 20;
constexpr long kStalledAfterS = 30;  // without a byte
constexpr size_t kMaxErrorBytes = 4096;
constexpr std::string_view kBlanks = " \t\r\n";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

std::string TokenFromFile() {
  const std::string path = Environment("HF_TOKEN_PATH");
  std::ifstream file(path.empty() ? HubHome() / "token" : std::filesystem::path(path));
  std::string token;
  std::getline(file, token);
  return token;
}

struct Transfer {
  const CurlRequest& request;
  const HubHttp::Sink& sink;
  const std::atomic<bool>& stop;
  Status sink_status;
  std::string error_body;
  // Of the last response of a chain of redirects.
  std::string error_code;
  std::string error_message;
  int64_t retry_after = 0;  // seconds
  // Of a file: what the hub says, else whoever answers.
  int64_t linked_size = -1;
  int64_t size = -1;
  std::string linked_etag;
  std::string etag;
};

std::string WithoutQuotes(std::string_view etag) {
  if (StartsWith(etag, "W/")) etag.remove_prefix(2);
  return std::string(Trim(etag, "\""));
}

size_t OnHeader(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const std::string_view line(data, size * count);
  if (StartsWith(line, "HTTP/")) {
    transfer.error_code.clear();
    transfer.error_message.clear();
    transfer.retry_after = 0;
    return size * count;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  std::string name(line.substr(0, colon));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::string value(Trim(line.substr(colon + 1), kBlanks));
  if (name == "x-error-code") transfer.error_code = value;
  if (name == "x-error-message") transfer.error_message = value.substr(0, 500);
  if (name == "retry-after") transfer.retry_after = std::atoll(value.c_str());
  if (name == "x-linked-size") transfer.linked_size = std::atoll(value.c_str());
  if (name == "content-length") transfer.size = std::atoll(value.c_str());
  if (name == "x-linked-etag") transfer.linked_etag = WithoutQuotes(value);
  if (name == "etag") transfer.etag = WithoutQuotes(value);
  return size * count;
}

size_t OnBody(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const std::string_view bytes(data, size * count);
  const long code = transfer.request.http_status();
  if (code == 200 || code == 206) {
    transfer.sink_status = transfer.sink(bytes, code == 206);
    return transfer.sink_status.ok() ? bytes.size() : 0;
  }
  const size_t room = kMaxErrorBytes - transfer.error_body.size();
  transfer.error_body += bytes.substr(0, std::min(room, bytes.size()));
  return bytes.size();
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(context)->stop ? 1 : 0;
}

StatusCode CodeOf(long http) {
  switch (http) {
    case 401:
      return StatusCode::kUnauthenticated;
    case 403:
      return StatusCode::kPermissionDenied;
    case 404:
      return StatusCode::kNotFound;
    case 429:
      return StatusCode::kResourceExhausted;
    default:
      return http >= 500 || http == 408 ? StatusCode::kUnavailable : StatusCode::kInternal;
  }
}

Status ErrorOf(const Transfer& transfer, long http) {
  std::string message = "the hub answered " + std::to_string(http);
  if (!transfer.error_code.empty()) message += " " + transfer.error_code;
  if (!transfer.error_message.empty()) message += ": " + transfer.error_message;
  return Status(CodeOf(http), message).WithRetryAfter(std::max<int64_t>(0, transfer.retry_after));
}

// Leaves to the caller what is asked, and of what.
void Prepare(CurlRequest& request,
             const HubAccess& access,
             const std::string& path,
             Transfer& transfer,
             char* reason) {
  const char* protocols = StartsWith(access.endpoint, "https:") ? "https" : "http,https";
  request.Begin(access.endpoint + path, protocols, access.ca_file);
  // libcurl sends it to no other host, port or protocol than the first one.
  if (!access.token.empty()) request.AddHeader("Authorization: Bearer " + access.token);
  CURL* const curl = request.get();
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutS);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStalledAfterS);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
}

Status Perform(const CurlRequest& request,
               const HubAccess& access,
               const Transfer& transfer,
               const char* reason) {
  const CURLcode code = curl_easy_perform(request.get());
  if (!transfer.sink_status.ok()) return transfer.sink_status;
  if (transfer.stop) return Cancelled("stopped");
  if (code == CURLE_OK) return OkStatus();
  return Unavailable(access.endpoint, ": ", *reason == '\0' ? curl_easy_strerror(code) : reason);
}

}  // namespace

Result<HubAccess> HubAccess::FromEnvironment() {
  const std::string offline = Environment("HF_HUB_OFFLINE");
  if (offline == "1" || offline == "true" || offline == "TRUE" || offline == "yes" ||
      offline == "ON")
    return FailedPrecondition("HF_HUB_OFFLINE is set; unset it to reach the hub");
  HubAccess access;
  if (const std::string endpoint = Environment("HF_ENDPOINT"); !endpoint.empty())
    access.endpoint = endpoint;
  while (!access.endpoint.empty() && access.endpoint.back() == '/') access.endpoint.pop_back();
  if (!StartsWith(access.endpoint, "https://") && !StartsWith(access.endpoint, "http://"))
    return InvalidArgument("HF_ENDPOINT is '", access.endpoint,
                           "'; it must be a URL like https://huggingface.co");
  const std::string token = Environment("HF_TOKEN");
  access.token = Trim(token.empty() ? TokenFromFile() : token, kBlanks);
  const bool is_printable = std::all_of(access.token.begin(), access.token.end(),
                                        [](unsigned char c) { return c > ' ' && c < 0x7f; });
  if (!is_printable) return InvalidArgument("the hub's token has characters that no token has");
  access.ca_file = Environment("SSL_CERT_FILE");
  return access;
}

std::string HubHttp::Escape(std::string_view text, bool keep_slashes) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    const bool is_plain = std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '~';
    if (is_plain || (keep_slashes && c == '/')) {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  return out;
}

Status HubHttp::Get(const std::string& path, int64_t offset, const Sink& sink) {
  Transfer transfer{.request = request_, .sink = sink, .stop = stop_};
  const std::string range = std::to_string(offset) + "-";
  char reason[CURL_ERROR_SIZE] = "";
  Prepare(request_, access_, path, transfer, reason);
  curl_easy_setopt(request_.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(request_.get(), CURLOPT_MAXREDIRS, 10L);
  if (offset > 0) curl_easy_setopt(request_.get(), CURLOPT_RANGE, range.c_str());
  LONGHAND_RETURN_IF_ERROR(Perform(request_, access_, transfer, reason));
  const long http = request_.http_status();
  return http == 200 || http == 206 ? OkStatus() : ErrorOf(transfer, http);
}

// Where the hub redirects to a store, its own answer has the digest.
Result<HubHttp::FileFacts> HubHttp::Head(const std::string& path) {
  const Sink no_body;
  Transfer transfer{.request = request_, .sink = no_body, .stop = stop_};
  char reason[CURL_ERROR_SIZE] = "";
  Prepare(request_, access_, path, transfer, reason);
  curl_easy_setopt(request_.get(), CURLOPT_NOBODY, 1L);
  LONGHAND_RETURN_IF_ERROR(Perform(request_, access_, transfer, reason));
  const long http = request_.http_status();
  if (!transfer.linked_etag.empty()) return FileFacts{transfer.linked_size, transfer.linked_etag};
  if (http == 200) return FileFacts{transfer.size, transfer.etag};
  return ErrorOf(transfer, http);
}

}  // namespace longhand::client
