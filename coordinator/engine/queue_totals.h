// QueueTotals: how many answers wait for a place in all engines of a coordinator together, so that
// the bounds of the queue hold for their sum. Those for which a place is free are in the queue
// until the next plan, and do not wait. Any thread.
#pragma once

#include <algorithm>
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

  // For so many more of those in the queue a place is free.
  void AddPlaced(int64_t num_answers) {
    std::lock_guard lock(mutex_);
    num_placed_ += num_answers;
  }

  int64_t total() const {
    std::lock_guard lock(mutex_);
    return total_ - num_placed_;
  }
  // At least these: whose turn the free places are is not known here.
  int64_t of_tenant(const std::string& tenant) const {
    std::lock_guard lock(mutex_);
    const auto found = by_tenant_.find(tenant);
    return found == by_tenant_.end() ? 0 : std::max<int64_t>(0, found->second - num_placed_);
  }

 private:
  mutable std::mutex mutex_;
  int64_t total_ = 0;                         // in the queue
  int64_t num_placed_ = 0;                    // of these
  std::map<std::string, int64_t> by_tenant_;  // with answers in the queue
};

}  // namespace longhand::engine
