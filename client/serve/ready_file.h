// ReadyFile: what `longhand serve --ready-file` says of the cluster it runs.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::client {

struct ReadyFile {
  std::string http, grpc, metrics;          // host:port
  std::vector<std::string> worker_metrics;  // as workers
  pid_t coordinator = -1;
  std::vector<pid_t> workers;  // in rank order, group after group

  // kUnavailable when there is none, as while the cluster starts; kInvalidArgument when it is no
  // ready file.
  static Result<ReadyFile> Read(const std::filesystem::path& path);
};

}  // namespace longhand::client
