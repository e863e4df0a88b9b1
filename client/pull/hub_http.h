// HubHttp: GET and HEAD from the hub, over libcurl.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/curl/curl_request.h"
#include "common/status.h"

namespace longhand::client {

struct HubAccess {
  std::string endpoint = "https://huggingface.co";
  std::string token;    // empty: none. Goes to the endpoint's host alone, and into no message
  std::string ca_file;  // empty: the system's

  // HF_ENDPOINT, HF_TOKEN or the token file that `hf auth login` writes, SSL_CERT_FILE.
  // kInvalidArgument for an endpoint that is no http or https URL, kFailedPrecondition with
  // HF_HUB_OFFLINE.
  static Result<HubAccess> FromEnvironment();
};

// One request at a time; any thread. The connection is kept between requests.
class HubHttp {
 public:
  // `access` and `stop` outlive this; when `stop` is set, a transfer ends soon.
  HubHttp(const HubAccess& access, const std::atomic<bool>& stop) : access_(access), stop_(stop) {}

  // Where a body's next bytes go; `is_partial` tells whether they follow `offset` bytes or begin
  // anew. An error ends the transfer and is what Get returns.
  using Sink = std::function<Status(std::string_view bytes, bool is_partial)>;

  // GET `path` of the endpoint from byte `offset` on; redirects are followed. kUnauthenticated,
  // kPermissionDenied, kNotFound, kResourceExhausted and kUnavailable (these two may have a time to
  // wait) as the hub says; kUnavailable when the connection fails or ends early.
  Status Get(const std::string& path, int64_t offset, const Sink& sink);

  // What the hub says of a file without sending it.
  struct FileFacts {
    int64_t size = -1;   // -1: it does not say
    std::string digest;  // its ETag, without quotes
  };
  // HEAD `path`. Errors as Get's.
  Result<FileFacts> Head(const std::string& path);

  static std::string Escape(std::string_view text, bool keep_slashes);

 private:
  const HubAccess& access_;
  const std::atomic<bool>& stop_;
  CurlRequest request_;
};

}  // namespace longhand::client
