// StepLedger: which steps are out, who has answered, and how long the oldest has taken. The time
// that counts is a Heartbeat's: that in which somebody listened.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "common/clock.h"
#include "common/status.h"
#include "common/step_plan.h"

namespace longhand::cluster {

// Not thread-safe; WorkerGroup guards it. One an epoch.
class StepLedger {
 public:
  explicit StepLedger(int32_t num_ranks) : num_ranks_(num_ranks) {}

  // A step was sent; it may take `allowance` from the moment at which the step before it is done.
  void Sent(int64_t step, Duration allowance, int64_t num_tokens);
  // One rank's answer. The joined result - rank 0's, with the first error - once all ranks have
  // answered the oldest step. kInternal for an answer that nobody waits for.
  Result<std::optional<StepResult>> Answered(StepResult result);
  // So much time has passed, in which answers were listened for.
  void OnTime(Duration passed) { oldest_for_ += passed; }
  // kDeadlineExceeded naming step and missing ranks when the oldest step is overdue.
  Status CheckDeadline() const;
  bool empty() const { return steps_.empty(); }
  int64_t num_tokens() const;  // of the steps that are out

 private:
  struct PendingStep {
    int64_t step = 0;
    Duration allowance{};
    int64_t num_tokens = 0;
    int32_t answers = 0;
    uint64_t answered_ranks = 0;  // bit per rank
    StepResult joined;
  };

  const int32_t num_ranks_;
  std::deque<PendingStep> steps_;  // oldest first
  Duration oldest_for_{};
};

}  // namespace longhand::cluster
