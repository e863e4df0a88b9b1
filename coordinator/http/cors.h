// Which web pages may call: Cross-Origin Resource Sharing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/http/message.h"

namespace longhand::http {

class Cors {
 public:
  // Origins such as https://example.org; "*" is every one; none: no page of another origin.
  explicit Cors(std::vector<std::string> origins) : origins_(std::move(origins)) {}

  // What a browser is to be told with an answer to `request`.
  std::vector<Header> HeadersFor(const Request& request) const;
  // The answer to a preflight, which asks what may be sent; nothing when `request` is none.
  static std::optional<Response> AnswerPreflight(const Request& request,
                                                 const std::string& allowed_methods);

 private:
  const std::vector<std::string> origins_;
};

}  // namespace longhand::http
