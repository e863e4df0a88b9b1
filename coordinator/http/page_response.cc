#include "coordinator/http/page_response.h"

#include <string>

#include "coordinator/http/error_response.h"
#include "coordinator/http/page/page_part.h"

namespace longhand::http {

void AddPageHeaders(Response* page) {
  page->headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
      "require-trusted-types-for 'script'; trusted-types 'none'");
  page->headers.emplace_back("X-Content-Type-Options", "nosniff");
  page->headers.emplace_back("Referrer-Policy", "no-referrer");
}

Response PageResponse(const Request& request, std::string_view name) {
  const PagePart* part = FindPagePart(name);
  if (part == nullptr) return ErrorResponse(404, "the page has no part " + std::string(name));
  Response page{.content_type = std::string(part->content_type), .body = std::string(part->text)};
  AddPageHeaders(&page);
  page.headers.emplace_back("Cache-Control", "no-cache");
  page.headers.emplace_back("ETag", part->etag);
  const std::string* known = request.FindHeader("if-none-match");
  if (known != nullptr && *known == part->etag) {
    page.status = 304;
    page.content_type.clear();
    page.body.clear();
  }
  return page;
}

}  // namespace longhand::http
