// EngineHarness: an engine with fake workers that run a step when the test says so.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "coordinator/engine/engine.h"
#include "tests/unit/coordinator/engine/expected_answer.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/fake_workers.h"
#include "tests/unit/coordinator/engine/recording_sink.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {

inline EngineConfig SmallConfig() {
  EngineConfig config;
  config.max_num_batched_tokens = 16;
  config.max_num_seqs = 4;
  config.max_model_len = 128;
  config.max_waiting_seqs = 8;
  config.max_encode_patch_layers = 1000;
  config.eos_token_ids = {kFakeEos};
  return config;
}

inline GroupShape SmallShape() {
  return {.num_ranks = 2,
          .num_encoder_layers = 4,
          .num_blocks = 32,
          .block_size = 8,
          .encoder_cache_tokens = 64};
}

class EngineHarness final : private StepExecutor {
 public:
  // Held back, or closed to new requests, by hand.
  struct ManualGate final : DeliveryGate {
    Status CheckAdmission() const override { return admission; }
    bool IsFull() const override { return full; }
    Status admission;
    bool full = false;
  };

  explicit EngineHarness(const EngineConfig& config = SmallConfig(),
                         const GroupShape& shape = SmallShape(),
                         Metrics& metrics = NoMetrics(),
                         std::shared_ptr<QueueTotals> waiting = std::make_shared<QueueTotals>())
      : config_(config),
        shape_(shape),
        engine_(config,
                EngineParts{static_cast<StepExecutor&>(*this), text_, clock_, metrics, gate_,
                            [this](const RequestSummary& ended) { ended_.push_back(ended); },
                            std::move(waiting)}) {}

  void FormGroup(int64_t epoch = 1) {
    epoch_ = epoch;
    workers_ = std::make_unique<FakeWorkers>(shape_, config_, epoch);
    plans_.clear();
    engine_.OnGroupUp(epoch, shape_);
    Turn();
  }
  // One turn, and one more when pixels arrived.
  void Turn() {
    const size_t num_images = images_sent_.size();
    engine_.Turn(Duration::zero());
    engine_.CheckInvariants();
    if (images_sent_.size() > num_images) Turn();
  }
  std::shared_ptr<Recording> Submit(const Request& request) {
    auto recording = std::make_shared<Recording>();
    const Status status = engine_.Submit(std::make_shared<const Request>(request),
                                         std::make_unique<RecordingSink>(recording));
    EXPECT_TRUE(status.ok()) << status;
    Turn();
    return recording;
  }
  // A request that another engine had, and what its sink was told.
  std::shared_ptr<Recording> Restore(const Request& request, const Recording& told) {
    auto recording = std::make_shared<Recording>(told);
    recording->destroyed = false;
    const Status status =
        engine_.Restore(std::make_shared<const Request>(request), DeliveredOf(request, told),
                        std::make_unique<RecordingSink>(recording));
    EXPECT_TRUE(status.ok()) << status;
    Turn();
    return recording;
  }
  // The workers finish the oldest step.
  void RunStep(int64_t execute_us = 0) {
    ASSERT_FALSE(plans_.empty());
    StepResult result = workers_->Run(plans_.front());
    result.execute_us = execute_us;
    plans_.pop_front();
    engine_.OnStepResult(std::move(result));
    Turn();
  }
  // Runs what is sent until nothing is, at most `max_steps`.
  void RunToEnd(int max_steps = 1000) {
    while (!plans_.empty() && max_steps-- > 0) RunStep();
    ASSERT_TRUE(plans_.empty()) << "steps without end";
  }
  AnswerText Expected(const Request& request, uint32_t choice = 0) const {
    return ExpectedAnswer(request, choice, config_);
  }

  const EngineConfig config_;
  const GroupShape shape_;
  ManualClock clock_;
  FakeTextFactory text_;
  ManualGate gate_;
  std::vector<RequestSummary> ended_;  // in that order
  Engine engine_;
  int64_t epoch_ = 0;
  std::unique_ptr<FakeWorkers> workers_;
  std::deque<StepPlan> plans_;            // sent, not yet run
  std::vector<ContentHash> images_sent_;  // all that were ever put
  bool deliver_images_ = true;            // at once
  std::optional<Status> abandoned_;

 private:
  void Execute(StepPlan plan) override { plans_.push_back(std::move(plan)); }
  void PutImage(int64_t epoch, const ImageInput& image) override {
    images_sent_.push_back(image.hash);
    workers_->PutImage(image);
    if (deliver_images_) engine_.OnImageReady(epoch, image.hash);
  }
  void AbandonGroup(int64_t, const Status& why) override { abandoned_ = why; }
};

// A request whose answer ends with `detail` after at least `min_tokens` tokens, found by trying
// salts.
inline Request RequestEndingWith(const EngineHarness& harness,
                                 Request request,
                                 const std::string& detail,
                                 size_t min_tokens = 3) {
  for (uint64_t salt = 1; salt < 10'000; ++salt) {
    request.sampling.seed = salt;
    const AnswerText answer = harness.Expected(request);
    if (answer.finish_detail == detail && answer.token_ids.size() >= min_tokens) return request;
  }
  ADD_FAILURE() << "no seed ends with " << detail;
  return request;
}

}  // namespace longhand::engine
