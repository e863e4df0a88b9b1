#include "coordinator/http/cors.h"

#include <algorithm>

namespace longhand::http {

std::vector<Header> Cors::HeadersFor(const Request& request) const {
  const std::string* origin = request.FindHeader("origin");
  if (origin == nullptr || origins_.empty()) return {};
  const bool is_any = std::find(origins_.begin(), origins_.end(), "*") != origins_.end();
  if (is_any)
    return {{"Access-Control-Allow-Origin", "*"},
            {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"}};
  std::vector<Header> headers = {{"Vary", "Origin"}};
  if (std::find(origins_.begin(), origins_.end(), *origin) != origins_.end()) {
    headers.emplace_back("Access-Control-Allow-Origin", *origin);
    headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  }
  return headers;
}

std::optional<Response> Cors::AnswerPreflight(const Request& request,
                                              const std::string& allowed_methods) {
  if (request.method != "OPTIONS") return std::nullopt;
  // Whatever the client has of its own may be sent, as OpenAI's for JavaScript has X-Stainless-*.
  const std::string* wanted = request.FindHeader("access-control-request-headers");
  return Response{.status = 204,
                  .content_type = "",
                  .headers = {{"Allow", allowed_methods},
                              {"Access-Control-Allow-Methods", allowed_methods},
                              {"Access-Control-Allow-Headers",
                               wanted != nullptr && !wanted->empty()
                                   ? *wanted
                                   : "Authorization, Content-Type, Last-Event-ID, X-Request-Id"},
                              {"Access-Control-Max-Age", "600"}}};
}

}  // namespace longhand::http
