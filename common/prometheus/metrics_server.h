// MetricsServer: answers GET /metrics with what a registry holds.
#pragma once

#include <prometheus/registry.h>

#include <memory>
#include <string>

#include "common/status.h"

namespace longhand {

// One thread of its own. Ends at once when destroyed.
class MetricsServer {
 public:
  // Listens on host:port; port 0 picks one. kInvalidArgument for what is not an address,
  // kUnavailable when it is taken.
  static Result<std::unique_ptr<MetricsServer>> Start(
      const std::string& address, std::shared_ptr<prometheus::Registry> registry);
  ~MetricsServer();

  const std::string& address() const { return address_; }  // with the real port

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl, std::string address);

  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace longhand
