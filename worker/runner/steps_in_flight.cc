#include "worker/runner/steps_in_flight.h"

#include <algorithm>
#include <utility>

namespace longhand::runner {

using Clock = std::chrono::steady_clock;

Result<std::unique_ptr<StepsInFlight>> StepsInFlight::Create(kernels::Ops& ops) {
  std::unique_ptr<StepsInFlight> steps(new StepsInFlight(ops));
  for (auto& end : steps->ends_) {
    LONGHAND_ASSIGN_OR_RETURN(end, ops.CreateEvent());
  }
  return steps;
}

bool StepsInFlight::HasRoomBehind() const {
  return !steps_.empty() && steps_.size() < kMaxSteps && !steps_.back().ended;
}

StepsInFlight::Step& StepsInFlight::Begin(const StepPlan& plan, int32_t rank) {
  Step& step = steps_.emplace_back();
  step.result = {.epoch = plan.epoch, .step = plan.step, .rank = rank};
  step.begun = Clock::now();
  return step;
}

Status StepsInFlight::Leave(std::span<const int32_t> token_ids, Step* step) {
  turn_ = (turn_ + 1) % kMaxSteps;
  LONGHAND_RETURN_IF_ERROR(ops_.SetEvent(*ends_[turn_]));
  step->token_ids = token_ids;
  step->end = ends_[turn_].get();
  return OkStatus();
}

void StepsInFlight::EndBegin(Step* step) {
  if (!step->result.status.ok() || step->end == nullptr) step->ended = Clock::now();
}

bool StepsInFlight::HasEnded(comm::Communicator& communicator) {
  Step& step = steps_.front();
  if (step.ended) return true;
  const Result<bool> done = communicator.HasDone([&] { return ops_.Reached(*step.end); },
                                                 std::max(step.begun, latest_end_));
  if (done.ok() && !*done) return false;
  step.ended = Clock::now();
  step.result.status = done.ok() ? TakeTokens(&step) : done.status();
  return true;
}

Status StepsInFlight::TakeTokens(Step* step) {
  for (size_t i = 0; i < step->token_ids.size(); ++i) {
    SequenceResult& sequence = step->result.sequences[i];
    const int32_t token_id = step->token_ids[i];
    if (token_id < 0) {
      return Internal("the token of sequence ", sequence.sequence_id, " was left open");
    }
    sequence.tokens.push_back({.token_id = token_id});
  }
  return OkStatus();
}

StepResult StepsInFlight::Take() {
  Step step = std::move(steps_.front());
  steps_.pop_front();
  // Not the time in which the step ahead of it ran.
  const TimePoint begun = std::max(step.begun, latest_end_);
  latest_end_ = std::max(*step.ended, latest_end_);
  step.result.execute_us =
      std::chrono::duration_cast<std::chrono::microseconds>(latest_end_ - begun).count();
  if (step.result.rank != 0 || !step.result.status.ok()) step.result.sequences.clear();
  return std::move(step.result);
}

}  // namespace longhand::runner
