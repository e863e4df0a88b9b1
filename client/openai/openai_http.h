// A server with OpenAI's endpoints, over libcurl.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "common/curl/curl_request.h"
#include "common/status.h"

namespace longhand::client {

struct OpenAiAddress {
  std::string base_url;  // http(s)://host:port, with or without /v1
  std::string model;
  std::string api_key;              // empty: none
  std::string ca_file;              // PEM; empty: the system's
  std::chrono::seconds timeout{0};  // of one request
};

// Of the endpoint `path`, as "/chat/completions".
std::string OpenAiUrl(const OpenAiAddress& address, const std::string& path);
// What all requests have: headers, the key, the timeout.
void PrepareOpenAi(const OpenAiAddress& address, const std::string& url, CurlRequest& request);
// The response's status code. kDeadlineExceeded and kUnavailable.
Result<long> PerformOpenAi(const CurlRequest& request);
// The message of OpenAI's error object, or the text itself.
std::string OpenAiErrorText(std::string_view text);
// What a status code other than 200 says.
Status OpenAiError(long http, std::string_view body);

// POST `body` to the endpoint `path`; the answer as JSON. OpenAiError, and kInternal for what is no
// JSON or has more than 64 MiB.
Result<boost::json::value> PostOpenAi(const OpenAiAddress& address,
                                      const std::string& path,
                                      const boost::json::value& body,
                                      CurlRequest& request);
// The first model of GET /v1/models.
Result<std::string> FirstModel(const OpenAiAddress& address);

// A field of an object; null where `value` is none or has no such field.
const boost::json::value* FindField(const boost::json::value& value, std::string_view key);

}  // namespace longhand::client
