// Keeps a TCP port for a child that binds it, across the child's restarts.
#pragma once

#include <string>

#include "common/status.h"

namespace longhand::client {

// Holds a socket that is bound with SO_REUSEPORT and never listens: it gets no connection, and
// whoever binds the same address with SO_REUSEPORT (gRPC does) gets them all.
class ReservedPort {
 public:
  // `address` is host:port; port 0 picks a free one. kInvalidArgument for what is not an address,
  // kUnavailable when the port is taken.
  static Result<ReservedPort> Reserve(const std::string& address);
  ReservedPort(ReservedPort&& other) noexcept;
  ReservedPort& operator=(ReservedPort&&) = delete;
  ~ReservedPort();

  const std::string& address() const { return address_; }  // with the real port

 private:
  ReservedPort(int fd, std::string address) : fd_(fd), address_(std::move(address)) {}

  int fd_ = -1;
  std::string address_;
};

}  // namespace longhand::client
