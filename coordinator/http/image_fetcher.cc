#include "coordinator/http/image_fetcher.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <utility>

#include "common/curl/curl_request.h"

namespace longhand::http {
namespace {

using std::chrono::steady_clock;

struct Url {
  std::string host;
  std::string port;
};

std::string Part(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

Result<Url> ParseUrl(const std::string& text) {
  const std::unique_ptr<CURLU, CurlFree> url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK ||
      Part(url.get(), CURLUPART_SCHEME, 0) != "https")
    return InvalidArgument("the URL of a picture must begin with https://");
  if (!Part(url.get(), CURLUPART_USER, 0).empty())
    return InvalidArgument("the URL of a picture must not hold a user's name");
  std::string host = Part(url.get(), CURLUPART_HOST, 0);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return Url{std::move(host), Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT)};
}

// All addresses of the host must be allowed; one of them is taken.
Result<std::string> ResolveHost(const Url& url,
                                const std::function<bool(const sockaddr&)>& may_connect) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found) != 0)
    return InvalidArgument("the host '", url.host, "' of a picture is not known");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  std::string chosen;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (!may_connect(*each->ai_addr)) {
      return InvalidArgument("the host '", url.host,
                             "' of a picture is not on the public internet");
    }
    char text[NI_MAXHOST];
    if (chosen.empty() && getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof(text), nullptr,
                                      0, NI_NUMERICHOST) == 0)
      chosen = text;
  }
  return chosen;
}

struct Transfer {
  const std::function<bool(const sockaddr&)>& may_connect;
  const std::atomic<bool>& is_cancelled;
  int64_t max_bytes;
  std::string bytes;
  bool too_large = false;
};

size_t OnBytes(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (static_cast<int64_t>(transfer.bytes.size() + size * count) > transfer.max_bytes) {
    transfer.too_large = true;
    return 0;
  }
  transfer.bytes.append(data, size * count);
  return size * count;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(context)->is_cancelled ? 1 : 0;
}

// The last word on where a connection goes.
curl_socket_t OnOpenSocket(void* context, curlsocktype, curl_sockaddr* address) {
  if (!static_cast<Transfer*>(context)->may_connect(address->addr)) return CURL_SOCKET_BAD;
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

}  // namespace

struct ImageFetcher::Hop {
  std::string bytes;
  std::string redirect;  // empty: the bytes are the picture's
};

Result<ImageFetcher::Hop> ImageFetcher::Visit(const std::string& text,
                                              steady_clock::time_point deadline) const {
  LONGHAND_ASSIGN_OR_RETURN(const Url url, ParseUrl(text));
  LONGHAND_ASSIGN_OR_RETURN(const std::string address, ResolveHost(url, trust_.may_connect));
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
  if (left.count() <= 0) return InvalidArgument("a picture did not come in time");
  const bool is_v6 = address.find(':') != std::string::npos;
  const std::string pin = url.host + ":" + url.port + ":" + (is_v6 ? "[" + address + "]" : address);
  const CurlList pins(curl_slist_append(nullptr, pin.c_str()));
  Transfer transfer{trust_.may_connect, is_cancelled_, limits_.max_bytes, {}};
  CurlRequest request;
  request.Begin(text, "https", trust_.ca_file);
  CURL* const curl = request.get();
  curl_easy_setopt(curl, CURLOPT_RESOLVE, pins.get());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(limits_.max_bytes));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, OnOpenSocket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  if (is_cancelled_) return Unavailable("the server is stopping");
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED)
    return InvalidArgument("the picture has more than ", limits_.max_bytes, " bytes");
  if (code == CURLE_OPERATION_TIMEDOUT)
    return InvalidArgument("the picture did not come within ", limits_.timeout.count(), " ms");
  if (code != CURLE_OK)
    return InvalidArgument("the picture cannot be fetched: ", curl_easy_strerror(code));
  const long status = request.http_status();
  char* redirect = nullptr;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
  if (status >= 300 && status < 400 && redirect != nullptr) return Hop{.redirect = redirect};
  if (status != 200)
    return InvalidArgument("the picture's host answered ", status, "; 200 is needed");
  return Hop{.bytes = std::move(transfer.bytes)};
}

Result<std::string> ImageFetcher::Fetch(const std::string& url) const {
  const auto deadline = steady_clock::now() + limits_.timeout;
  std::string next = url;
  for (int i = 0; i <= limits_.max_redirects; ++i) {
    LONGHAND_ASSIGN_OR_RETURN(Hop hop, Visit(next, deadline));
    if (hop.redirect.empty()) return std::move(hop.bytes);
    next = std::move(hop.redirect);
  }
  return InvalidArgument("the picture's URL is redirected more than ", limits_.max_redirects,
                         " times");
}

}  // namespace longhand::http
