// ImageFetcher: the one way in which this server opens a connection because a request says so.
//
// https only, to addresses of the public internet only: each name is resolved once, all its
// addresses must be public, and the connection goes to one of those; each redirect is treated the
// same. No proxy, no credentials, no cookies; bytes and time are bounded.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "common/status.h"

struct sockaddr;

namespace longhand::http {

// Whether an address may be fetched from: neither private, loopback, link-local, shared, multicast,
// reserved, nor IPv6 that carries such an IPv4 address.
bool IsGlobalAddress(const sockaddr& address);

class ImageFetcher {
 public:
  struct Limits {
    int64_t max_bytes = int64_t{32} << 20;
    std::chrono::milliseconds timeout =
        std::chrono::seconds(10);  // of a picture, redirects included
    int max_redirects = 3;
  };
  // Replaced in tests, where all addresses are local.
  struct Trust {
    std::function<bool(const sockaddr&)> may_connect = IsGlobalAddress;
    std::string ca_file;  // empty: the system's
  };
  explicit ImageFetcher(Limits limits) : ImageFetcher(limits, Trust()) {}
  ImageFetcher(Limits limits, Trust trust) : limits_(limits), trust_(std::move(trust)) {}

  // Waits for the network: not for an I/O thread. Any number of threads. kInvalidArgument naming
  // what is wrong with the URL, its host or the answer; kUnavailable after Cancel().
  Result<std::string> Fetch(const std::string& url) const;
  // Ends what is under way.
  void Cancel() { is_cancelled_ = true; }

 private:
  struct Hop;
  Result<Hop> Visit(const std::string& url, std::chrono::steady_clock::time_point deadline) const;

  const Limits limits_;
  const Trust trust_;
  std::atomic<bool> is_cancelled_ = false;
};

}  // namespace longhand::http
