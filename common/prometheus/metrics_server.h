// MetricsServer: answers GET /metrics.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"

namespace longhand {

// One thread of its own. Ends at once when destroyed.
class MetricsServer {
 public:
  // Listens on host:port; port 0 picks one. `page` is called on the server's thread.
  // kInvalidArgument for what is not an address, kUnavailable when it is taken.
  static Result<std::unique_ptr<MetricsServer>> Start(const std::string& address,
                                                      std::function<std::string()> page);
  ~MetricsServer();

  const std::string& address() const { return address_; }  // with the real port

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl, std::string address);

  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace longhand
