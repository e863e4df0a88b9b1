#include "coordinator/cluster/roster.h"

#include <algorithm>
#include <limits>

#include "common/address.h"

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;

// What a worker that just started has of a GPU, about (library_bytes has room for it), with what
// peers of a dead one still have mapped.
constexpr int64_t kContextBytes = int64_t{1} << 30;
// Coarse, so that another coordinator finds the same.
constexpr int64_t kStrangersStep = int64_t{1} << 30;

// Addresses without a host are paths of this one.
std::string HostOf(const std::string& address) {
  const Result<Address> parsed = Address::Parse(address);
  return parsed.ok() ? parsed->host : "";
}

std::string KindOf(const wire::DescribeResponse& worker) {
  return worker.version() + " on " + worker.device() + " (" + worker.instruction_set() + ")";
}

}  // namespace

void Roster::Add(const WorkerLink& worker) {
  std::lock_guard lock(mutex_);
  workers_.push_back(&worker);
}

int64_t Roster::BytesFor(const WorkerLink& worker, Memory memory) {
  const wire::DescribeResponse own = worker.description();
  std::lock_guard lock(mutex_);
  const int64_t num_sharers = NumSharers(worker, own, memory);
  if (memory == Memory::kOfHost) return own.host_memory_bytes() / num_sharers;
  const int64_t strangers = own.device() == "cuda" ? StrangersBytes(own.memory_identity()) : 0;
  const int64_t part = (own.memory_bytes() - strangers) / num_sharers;
  return std::max<int64_t>(0, part - own.library_bytes());
}

int64_t Roster::NumSharers(const WorkerLink& worker,
                           const wire::DescribeResponse& own,
                           Memory memory) const {
  const bool of_host = memory == Memory::kOfHost || own.device() != "cuda";
  const auto identity = [&](const wire::DescribeResponse& description) {
    return memory == Memory::kOfHost ? description.host_identity() : description.memory_identity();
  };
  return std::count_if(workers_.begin(), workers_.end(), [&](const WorkerLink* other) {
    if (other == &worker) return true;
    const wire::DescribeResponse description = other->description();
    const bool is_known = !description.version().empty();
    return is_known ? identity(description) == identity(own)
                    : of_host && HostOf(other->address()) == HostOf(worker.address());
  });
}

// The worker that started first found the least taken: its own context, and what strangers have.
int64_t Roster::StrangersBytes(const std::string& memory_identity) {
  const auto known = strangers_bytes_.find(memory_identity);
  if (known != strangers_bytes_.end()) return known->second;
  int64_t taken = std::numeric_limits<int64_t>::max();
  for (const WorkerLink* worker : workers_) {
    const wire::DescribeResponse description = worker->description();
    if (description.memory_identity() == memory_identity) {
      taken = std::min(taken, description.taken_memory_bytes());
    }
  }
  const int64_t steps = (taken - kContextBytes + kStrangersStep - 1) / kStrangersStep;
  return strangers_bytes_[memory_identity] = std::max<int64_t>(0, steps) * kStrangersStep;
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
