// QueueTotals: how many answers wait for a place in all engines of a coordinator together, so that
// the bounds of the queue hold for their sum. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace longhand::engine {

class QueueTotals {
 public:
  // Answers that ran before are of no tenant's count.
  void Add(int64_t num_answers) {
    std::lock_guard lock(mutex_);
    total_ += num_answers;
  }
  void AddOf(const std::string& tenant, int64_t num_answers) {
    std::lock_guard lock(mutex_);
    total_ += num_answers;
    const auto found = by_tenant_.emplace(tenant, 0).first;
    if ((found->second += num_answers) == 0) by_tenant_.erase(found);
  }

  int64_t total() const {
    std::lock_guard lock(mutex_);
    return total_;
  }
  int64_t of_tenant(const std::string& tenant) const {
    std::lock_guard lock(mutex_);
    const auto found = by_tenant_.find(tenant);
    return found == by_tenant_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  int64_t total_ = 0;
  std::map<std::string, int64_t> by_tenant_;  // with answers that wait
};

}  // namespace longhand::engine
