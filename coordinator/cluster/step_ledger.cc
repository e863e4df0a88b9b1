#include "coordinator/cluster/step_ledger.h"

#include <algorithm>
#include <string>
#include <utility>

namespace longhand::cluster {

void StepLedger::Sent(int64_t step, Duration allowance, int64_t num_tokens) {
  if (steps_.empty()) oldest_for_ = Duration::zero();
  steps_.push_back({.step = step, .allowance = allowance, .num_tokens = num_tokens});
}

int64_t StepLedger::num_tokens() const {
  int64_t sum = 0;
  for (const PendingStep& step : steps_) sum += step.num_tokens;
  return sum;
}

Result<std::optional<StepResult>> StepLedger::Answered(StepResult result) {
  const auto pending = std::find_if(steps_.begin(), steps_.end(),
                                    [&](const PendingStep& p) { return p.step == result.step; });
  const bool known = pending != steps_.end() && result.rank >= 0 && result.rank < num_ranks_ &&
                     (pending->answered_ranks >> result.rank & 1) == 0;
  if (!known) {
    return Internal("rank ", result.rank, " answered step ", result.step,
                    ", which nobody waits for");
  }
  pending->answered_ranks |= uint64_t{1} << result.rank;
  ++pending->answers;
  Status first_error = pending->joined.status;
  if (first_error.ok() && !result.status.ok()) {
    first_error = result.status.WithContext("rank " + std::to_string(result.rank));
  }
  if (result.rank == 0) pending->joined = std::move(result);
  pending->joined.status = first_error;
  if (pending != steps_.begin() || pending->answers < num_ranks_)
    return std::optional<StepResult>();
  std::optional<StepResult> done(std::move(pending->joined));
  steps_.pop_front();
  oldest_for_ = Duration::zero();
  return done;
}

Status StepLedger::CheckDeadline() const {
  if (steps_.empty()) return OkStatus();
  const PendingStep& oldest = steps_.front();
  if (oldest_for_ <= oldest.allowance) return OkStatus();
  std::string missing;
  for (int32_t rank = 0; rank < num_ranks_; ++rank) {
    if ((oldest.answered_ranks >> rank & 1) == 0) missing += " " + std::to_string(rank);
  }
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return DeadlineExceeded("step ", oldest.step, " has taken ",
                          duration_cast<milliseconds>(oldest_for_).count(), " ms, more than the ",
                          duration_cast<milliseconds>(oldest.allowance).count(),
                          " ms allowed; no answer from rank", missing);
}

}  // namespace longhand::cluster
