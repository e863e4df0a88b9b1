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

  // What `worker` may take of a memory: workers that share one divide it. One that nobody has heard
  // of yet shares a host's with those that have the same host in their address. Of a GPU, what
  // others than workers have is what they had when it was first asked about: a group that is formed
  // again must come to the same sizes, and a worker that starts beside ranks of its own group finds
  // the GPU full.
  int64_t BytesFor(const WorkerLink& worker, Memory memory);

  // The group forms with ranks such as `rank`. kFailedPrecondition when another group's, formed or
  // forming, are not alike.
  Status Enter(int group, const worker::v1::DescribeResponse& rank);
  // The group is lost, or was not formed.
  void Leave(int group);

 private:
  // With mutex_ held.
  int64_t NumSharers(const WorkerLink& worker,
                     const worker::v1::DescribeResponse& own,
                     Memory memory) const;
  int64_t StrangersBytes(const std::string& memory_identity);

  std::mutex mutex_;
  std::vector<const WorkerLink*> workers_;
  std::map<std::string, int64_t> strangers_bytes_;      // of GPUs, by memory_identity
  std::map<int, worker::v1::DescribeResponse> groups_;  // a rank of each that has entered
};

// Bits must not depend on which worker computed them: kFailedPrecondition names the difference.
Status CheckAlike(const std::string& name,
                  const worker::v1::DescribeResponse& worker,
                  const std::string& other_name,
                  const worker::v1::DescribeResponse& other);

}  // namespace longhand::cluster
