// Roster: the workers of all groups of a coordinator: who shares whose memory, and that all groups
// compute the same bits. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/cluster/worker_link.h"

namespace longhand::cluster {

class Roster {
 public:
  enum class Memory { kOwn, kOfHost };

  // Before the groups start; the link outlives their threads.
  void Add(const WorkerLink& worker);

  // How many workers share the memory of `worker`, itself included. One that nobody has heard of
  // yet shares a host's with those that have the same host in their address.
  int64_t NumSharers(const WorkerLink& worker, Memory memory) const;

  // The group forms with ranks such as `rank`. kFailedPrecondition when another group's, formed or
  // forming, are not alike.
  Status Enter(int group, const worker::v1::DescribeResponse& rank);
  // The group is lost, or was not formed.
  void Leave(int group);

 private:
  mutable std::mutex mutex_;
  std::vector<const WorkerLink*> workers_;
  std::map<int, worker::v1::DescribeResponse> groups_;  // a rank of each that has entered
};

// Bits must not depend on which worker computed them: kFailedPrecondition names the difference.
Status CheckAlike(const std::string& name,
                  const worker::v1::DescribeResponse& worker,
                  const std::string& other_name,
                  const worker::v1::DescribeResponse& other);

}  // namespace longhand::cluster
