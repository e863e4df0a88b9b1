// ChildCluster: `longhand serve` as a child, for as long as a command needs it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "client/serve/child_process.h"
#include "common/status.h"

namespace longhand::client {

// Main thread only, and one at a time: from Start() on, SIGINT, SIGTERM, SIGHUP and SIGPIPE end the
// cluster instead of this program, so that nothing is left of either.
class ChildCluster {
 public:
  ChildCluster() = default;
  ~ChildCluster();  // ends what runs and waits for it
  ChildCluster(const ChildCluster&) = delete;
  ChildCluster& operator=(const ChildCluster&) = delete;

  // Serves with more flags, on free ports; returns when tokens can be made. kCancelled when a
  // signal came first; kFailedPrecondition with the cluster's log when it ended by itself.
  Status Start(const std::filesystem::path& longhand, const std::vector<std::string>& flags);

  const std::string& endpoint() const { return endpoint_; }
  std::filesystem::path ready_file() const { return directory_ / "ready.json"; }
  // True once a signal has come: what fails after that is no news.
  static bool interrupted();

 private:
  Status WaitUntilReady();

  std::filesystem::path directory_;  // ready file and log
  std::optional<ChildProcess> serve_;
  std::string endpoint_;
};

}  // namespace longhand::client
