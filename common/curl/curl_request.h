// CurlRequest: a handle of libcurl, and the options that all requests of ours have. What else a
// request needs is set on get(). One thread.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

namespace longhand {

struct CurlFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlList = std::unique_ptr<curl_slist, CurlFree>;

class CurlRequest {
 public:
  // Starts libcurl, once in the process.
  CurlRequest();

  // Forgets the request before; its connections stay open. `protocols`: "https" or "http,https".
  // `ca_file`: whom to trust instead of the system's; may be empty.
  void Begin(const std::string& url, const char* protocols, const std::string& ca_file);
  // "Name: value".
  void AddHeader(const std::string& line);

  CURL* get() const { return handle_.get(); }
  // Of the latest response; 0 before there is one.
  long http_status() const;

 private:
  CurlList headers_;
  const std::unique_ptr<CURL, CurlFree> handle_;
};

}  // namespace longhand
