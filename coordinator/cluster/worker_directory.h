// WorkerDirectory: where the workers are that are all found behind one DNS name (--workers-dns).
//
// A worker keeps its address while it lives or the name lists it. One that is lost and whose
// address is gone gets one that is nobody's: a pod takes the place of the one that it replaced.
// Where all are somebody's it keeps its own, as the name may only lag behind.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::cluster {

class WorkerDirectory {
 public:
  using Lookup = std::function<Result<std::vector<std::string>>()>;  // host:port of each

  WorkerDirectory(size_t num_workers, Lookup lookup);

  struct Listing {
    std::vector<std::string> addresses;  // of each that was asked for; empty: not known
    Status status;                       // why some are not known; OK when all are
  };
  // Looks the name up, for workers that nobody hears; waits as long as name servers do. Any thread.
  Listing Look(const std::vector<size_t>& lost);

 private:
  const Lookup lookup_;

  std::mutex mutex_;
  std::vector<std::string> addresses_;
};

// The IPv4 addresses of NAME:PORT in their order, or the IPv6 ones where there is none of the
// former. kUnavailable when it has none now.
Result<std::vector<std::string>> LookUp(const std::string& name_and_port);

}  // namespace longhand::cluster
