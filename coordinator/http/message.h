// A request and a response of HTTP, as handlers see them: plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longhand::http {

using Header = std::pair<std::string, std::string>;

struct Request {
  std::string method;
  std::string path;  // decoded
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<Header> headers;  // names in lower case
  std::string body;
  int minor_version = 1;    // HTTP/1.x
  bool keep_alive = false;  // as the client asked
  std::string request_id;   // its own x-request-id, or one that was drawn

  // Null when there is none; the first of several.
  const std::string* FindHeader(std::string_view name) const;
  const std::string* FindQuery(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<Header> headers;
  std::string body;
};

// "Not Found" for 404.
std::string_view ReasonPhrase(int status);

// The head of a response on the wire. Length and framing: `body_bytes`, or chunks, or until the
// connection closes.
enum class Framing { kLength, kChunked, kUntilClose };
std::string SerializeHead(const Response& response,
                          Framing framing,
                          int64_t body_bytes,
                          bool keep_alive);

}  // namespace longhand::http
