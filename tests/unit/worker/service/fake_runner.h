// FakeRunner: a ModelRunner without a model. A plan with chunks costs one all-reduce; its token is
// the sum over ranks of (rank + 1), plus 100 times the step.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
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

  StepResult Execute(const StepPlan& plan) override {
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
  RunnerLog& log_;
  model::MemoryBudget memory_;
};

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
