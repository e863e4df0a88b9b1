// FakeRunner: a ModelRunner without a model. A plan with chunks costs one all-reduce; its token is
// the sum over ranks of (rank + 1), plus 100 times the step.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "worker/runner/model_runner.h"
#include "worker/service/rank_setup.h"

namespace longhand::service {

// What the runners of one worker did; read by the test.
struct RunnerLog {
  std::atomic<int> loads{0};
  std::atomic<int> steps_begun{0};
  std::atomic<int64_t> pixel_bytes{0};
  Status next_load;  // set before the load: what it comes to
  std::vector<std::string> adapters;  // slot and identity of each that was to be loaded
  Status next_adapter;                // set before: what that comes to
};

class FakeRunner final : public runner::ModelRunner {
 public:
  FakeRunner(comm::Communicator& communicator, RunnerLog& log)
      : communicator_(&communicator), log_(log) {
    memory_.Add("language model weights", 1000);
    memory_.Add("image encoder weights", 100);
    memory_.Add("KV cache", 50);
  }

  Status PutImage(const ContentHash&, int32_t, int32_t, std::span<const uint8_t> pixels) override {
    log_.pixel_bytes += static_cast<int64_t>(pixels.size());
    return OkStatus();
  }

  Status LoadAdapter(int64_t slot,
                     const std::string& identity,
                     const std::filesystem::path&) override {
    log_.adapters.push_back(std::to_string(slot) + " " + identity);
    return log_.next_adapter;
  }
  bool MayBegin(const StepPlan&) const override { return !result_.has_value(); }
  void Begin(const StepPlan& plan) override { result_ = Run(plan); }
  bool HasEnded() override { return true; }
  StepResult End() override { return *std::exchange(result_, std::nullopt); }

  Status ResetForEpoch(int64_t, comm::Communicator& communicator) override {
    communicator_ = &communicator;
    return OkStatus();
  }
  void LeaveGroup() override {}
  const model::MemoryBudget& memory() const override { return memory_; }
  void SetObserver(model::Observer) override {}
  void ReplaySteps(bool) override {}
  TensorView LastLogits() const override { return {}; }
  TensorView KvCache(int64_t) const override { return {}; }

 private:
  StepResult Run(const StepPlan& plan) {
    ++log_.steps_begun;
    StepResult result{.epoch = plan.epoch, .step = plan.step, .rank = communicator_->rank()};
    if (plan.chunks.empty()) return result;
    float value = static_cast<float>(communicator_->rank() + 1);
    result.status = communicator_->AllReduceSum(TensorView(&value, DType::kF32, {1}));
    if (!result.status.ok() || communicator_->rank() != 0) return result;
    const auto token = static_cast<int32_t>(value) + 100 * static_cast<int32_t>(plan.step);
    result.sequences = {
        {.sequence_id = plan.chunks[0].sequence_id, .tokens = {{.token_id = token}}}};
    return result;
  }

  comm::Communicator* communicator_;
  RunnerLog& log_;
  std::optional<StepResult> result_;
  model::MemoryBudget memory_;
};

// What a LateRunner has begun, and what it may end; the test says that.
struct LateLog {
  std::atomic<int> begun{0};
  std::atomic<int> may_end{0};
  Status first;  // set before: what the first step comes to
};

// LateRunner: its steps end when the test says so, two at once. Token 100 times the step.
class LateRunner final : public runner::ModelRunner {
 public:
  LateRunner(comm::Communicator& communicator, LateLog& log)
      : communicator_(&communicator), log_(log) {}

  Status PutImage(const ContentHash&, int32_t, int32_t, std::span<const uint8_t>) override {
    return OkStatus();
  }
  Status LoadAdapter(int64_t, const std::string&, const std::filesystem::path&) override {
    return OkStatus();
  }
  bool MayBegin(const StepPlan&) const override { return steps_.size() < 2; }
  void Begin(const StepPlan& plan) override {
    steps_.push_back({.epoch = plan.epoch,
                      .step = plan.step,
                      .sequences = {{.tokens = {{static_cast<int32_t>(100 * plan.step)}}}}});
    ++log_.begun;
  }
  bool HasEnded() override {
    const Result<bool> done =
        communicator_->HasDone([this]() -> Result<bool> { return log_.may_end > num_ended_; }, {});
    if (!done.ok()) steps_.front().status = done.status();
    return !done.ok() || *done;
  }
  StepResult End() override {
    while (!HasEnded()) std::this_thread::yield();
    StepResult result = std::move(steps_.front());
    steps_.pop_front();
    if (num_ended_++ == 0 && result.status.ok()) result.status = log_.first;
    return result;
  }
  Status ResetForEpoch(int64_t, comm::Communicator& communicator) override {
    communicator_ = &communicator;
    return OkStatus();
  }
  void LeaveGroup() override {}
  const model::MemoryBudget& memory() const override { return memory_; }
  void SetObserver(model::Observer) override {}
  void ReplaySteps(bool) override {}
  TensorView LastLogits() const override { return {}; }
  TensorView KvCache(int64_t) const override { return {}; }

 private:
  comm::Communicator* communicator_;
  LateLog& log_;
  std::deque<StepResult> steps_;
  int num_ended_ = 0;
  model::MemoryBudget memory_;
};

inline RunnerFactory LateRunners(LateLog& log) {
  return [&log](const RankSetup&, kernels::Ops&, comm::Communicator& communicator,
                const model::LoadProgress&) -> Result<std::unique_ptr<runner::ModelRunner>> {
    return std::unique_ptr<runner::ModelRunner>(new LateRunner(communicator, log));
  };
}

inline RunnerFactory FakeRunners(RunnerLog& log) {
  return
      [&log](const RankSetup&, kernels::Ops&, comm::Communicator& communicator,
             const model::LoadProgress& progress) -> Result<std::unique_ptr<runner::ModelRunner>> {
        ++log.loads;
        LONGHAND_RETURN_IF_ERROR(std::exchange(log.next_load, OkStatus()));
        progress(400, 1000);
        progress(1000, 1000);
        return std::unique_ptr<runner::ModelRunner>(new FakeRunner(communicator, log));
      };
}

}  // namespace longhand::service
