#include "coordinator/http/message.h"

#include <boost/beast/http/status.hpp>
#include <ostream>

namespace longhand::http {
namespace {

const std::string* Find(const std::vector<std::pair<std::string, std::string>>& pairs,
                        std::string_view name) {
  for (const auto& [key, value] : pairs) {
    if (key == name) return &value;
  }
  return nullptr;
}

}  // namespace

const std::string* Request::FindHeader(std::string_view name) const { return Find(headers, name); }
const std::string* Request::FindQuery(std::string_view name) const { return Find(query, name); }

std::string_view ReasonPhrase(int status) {
  namespace beast_http = boost::beast::http;
  if (status == 499) return "Client Closed Request";  // nginx's, which the standards lack
  const auto phrase =
      beast_http::obsolete_reason(beast_http::int_to_status(static_cast<unsigned>(status)));
  return {phrase.data(), phrase.size()};
}

std::string SerializeHead(const Response& response,
                          Framing framing,
                          int64_t body_bytes,
                          bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head.append(ReasonPhrase(response.status)).append("\r\n");
  const auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) add(name, value);
  const bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  if (framing == Framing::kChunked) add("Transfer-Encoding", "chunked");
  if (framing == Framing::kLength && has_body) add("Content-Length", std::to_string(body_bytes));
  add("Connection", keep_alive ? "keep-alive" : "close");
  return head.append("\r\n");
}

}  // namespace longhand::http
