#include "coordinator/cluster/roster.h"

#include <algorithm>

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;

// Addresses without a host are paths of this one.
std::string HostOf(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) return "";
  return address.substr(0, address.rfind(':'));
}

std::string KindOf(const wire::DescribeResponse& worker) {
  return worker.version() + " on " + worker.device() + " (" + worker.instruction_set() + ")";
}

}  // namespace

void Roster::Add(const WorkerLink& worker) {
  std::lock_guard lock(mutex_);
  workers_.push_back(&worker);
}

int64_t Roster::NumSharers(const WorkerLink& worker, Memory memory) const {
  const wire::DescribeResponse own = worker.description();
  const bool of_host = memory == Memory::kOfHost || own.device() != "cuda";
  const auto identity = [&](const wire::DescribeResponse& description) {
    return memory == Memory::kOfHost ? description.host_identity() : description.memory_identity();
  };
  std::lock_guard lock(mutex_);
  return std::count_if(workers_.begin(), workers_.end(), [&](const WorkerLink* other) {
    if (other == &worker) return true;
    const wire::DescribeResponse description = other->description();
    const bool is_known = !description.version().empty();
    return is_known ? identity(description) == identity(own)
                    : of_host && HostOf(other->address()) == HostOf(worker.address());
  });
}

Status Roster::Enter(int group, const wire::DescribeResponse& rank) {
  std::lock_guard lock(mutex_);
  for (const auto& [other, description] : groups_) {
    if (other == group) continue;
    LONGHAND_RETURN_IF_ERROR(CheckAlike("group " + std::to_string(group), rank,
                                        "group " + std::to_string(other), description));
  }
  groups_[group] = rank;
  return OkStatus();
}

void Roster::Leave(int group) {
  std::lock_guard lock(mutex_);
  groups_.erase(group);
}

Status CheckAlike(const std::string& name,
                  const wire::DescribeResponse& worker,
                  const std::string& other_name,
                  const wire::DescribeResponse& other) {
  if (KindOf(worker) == KindOf(other)) return OkStatus();
  return Status(StatusCode::kFailedPrecondition, name + " is " + KindOf(worker) + ", " +
                                                     other_name + " is " + KindOf(other) +
                                                     "; all must be alike");
}

}  // namespace longhand::cluster
