// StepsInFlight: steps that have begun, the oldest first, until their results are taken. Executor
// thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"

namespace longhand::runner {

class StepsInFlight {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Step {
    StepResult result;
    TimePoint begun;
    std::optional<TimePoint> ended;
    // Of one that the device is still at work on: what tells its end, and where the tokens of
    // result.sequences will then be.
    const kernels::Event* end = nullptr;
    std::span<const int32_t> token_ids;
  };

  static Result<std::unique_ptr<StepsInFlight>> Create(kernels::Ops& ops);

  bool empty() const { return steps_.empty(); }
  // Whether there is room behind a step that the device is at work on.
  bool HasRoomBehind() const;
  Step& Begin(const StepPlan& plan, int32_t rank);
  // Leaves the step to the device: all that it does is enqueued, the copy to `token_ids` last.
  Status Leave(std::span<const int32_t> token_ids, Step* step);
  // The host has done what it does of the step, which is over unless it was left.
  void EndBegin(Step* step);
  // Of the oldest: whether it is over.
  bool HasEnded(comm::Communicator& communicator);
  // The oldest, which is over.
  StepResult Take();
  void Clear() { steps_.clear(); }

 private:
  static constexpr size_t kMaxSteps = 2;  // one that runs, and one behind it

  explicit StepsInFlight(kernels::Ops& ops) : ops_(ops) {}
  static Status TakeTokens(Step* step);

  kernels::Ops& ops_;
  std::deque<Step> steps_;
  std::array<std::unique_ptr<kernels::Event>, kMaxSteps> ends_;
  size_t turn_ = 0;       // of ends_
  TimePoint latest_end_;  // of a step
};

}  // namespace longhand::runner
