#include "common/curl/curl_request.h"

#include "common/check.h"

namespace longhand {
namespace {

CURL* MakeHandle() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  LONGHAND_CHECK(initialised == CURLE_OK) << curl_easy_strerror(initialised);
  CURL* handle = curl_easy_init();
  LONGHAND_CHECK(handle != nullptr);
  return handle;
}

}  // namespace

CurlRequest::CurlRequest() : handle_(MakeHandle()) {}

void CurlRequest::Begin(const std::string& url, const char* protocols, const std::string& ca_file) {
  curl_easy_reset(get());
  headers_.reset();
  curl_easy_setopt(get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(get(), CURLOPT_PROTOCOLS_STR, protocols);
  curl_easy_setopt(get(), CURLOPT_USERAGENT, "longhand");
  curl_easy_setopt(get(), CURLOPT_NOSIGNAL, 1L);
  if (!ca_file.empty()) curl_easy_setopt(get(), CURLOPT_CAINFO, ca_file.c_str());
}

void CurlRequest::AddHeader(const std::string& line) {
  curl_slist* const longer = curl_slist_append(headers_.get(), line.c_str());
  LONGHAND_CHECK(longer != nullptr);
  // The same list, but for its first line.
  (void)headers_.release();
  headers_.reset(longer);
  curl_easy_setopt(get(), CURLOPT_HTTPHEADER, headers_.get());
}

long CurlRequest::http_status() const {
  long status = 0;
  curl_easy_getinfo(get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

}  // namespace longhand
