// Simulation: an engine and fake workers under random traffic in virtual time. One seed is one run,
// to the bit.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "common/clock.h"
#include "common/metrics.h"
#include "coordinator/engine/engine.h"
#include "tests/unit/coordinator/engine/delayed_sink.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/fake_workers.h"
#include "tests/unit/coordinator/engine/recording_sink.h"

namespace longhand::engine {

class Simulation final : private StepExecutor, private DeliveryGate {
 public:
  Simulation(uint64_t seed, int32_t pipeline_depth);

  // `num_turns` turns of traffic, then quiet until every request is over; then checks every answer
  // and that nothing is left. Failures are reported to GoogleTest.
  void Run(int64_t num_turns);

  int64_t num_steps() const { return num_steps_; }
  int64_t num_requests() const { return num_submitted_; }
  int64_t num_restarts() const { return num_restarts_; }
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_swaps() const { return num_swaps_; }  // of blocks, in
  // How many requests ended with each code.
  const std::map<StatusCode, int64_t>& num_ended() const { return num_ended_; }

 private:
  struct Submitted {
    int64_t number = 0;
    Request request;
    std::shared_ptr<Recording> recording;
    bool cancelled = false;
    bool checked = false;
  };
  struct PendingImage {
    int64_t epoch = 0;
    ImageInput image;
  };

  void Execute(StepPlan plan) override;
  void PutImage(int64_t epoch, const ImageInput& image) override;
  void AbandonGroup(int64_t epoch, const Status& why) override;

  Status CheckAdmission() const override { return OkStatus(); }
  bool IsFull() const override { return deliveries_.size() >= max_deliveries_; }

  uint64_t Random(uint64_t bound) { return random_() % bound; }
  bool Chance(double probability) {
    return static_cast<double>(Random(1 << 20)) < probability * (1 << 20);
  }
  void Traffic();
  void SubmitRandom();
  void CancelRandom();
  void AdvanceWorkers();
  void AdvanceDeliveries();
  void MakeEngine();
  void Restart();
  void FormGroup();
  void BreakGroup();
  Request RandomRequest();
  void CheckEnded();
  void CheckAnswer(Submitted& submitted);
  bool CanNeverFit(const Request& request) const;
  void CheckNothingLeft();

  std::mt19937_64 random_;
  double submit_chance_ = 0;  // of each turn
  double cancel_chance_ = 0;
  double break_chance_ = 0;
  double restart_chance_ = 0;
  size_t max_deliveries_ = 0;
  EngineConfig config_;
  GroupShape shape_;
  ManualClock clock_;
  FakeTextFactory text_;
  DelayedDeliveries deliveries_;  // told by the engine, not yet seen by clients
  std::unique_ptr<Engine> engine_;

  int64_t epoch_ = 0;
  std::unique_ptr<FakeWorkers> workers_;  // null while the group is down
  std::deque<StepPlan> plans_;            // sent, not yet run
  std::deque<PendingImage> images_;       // sent, not yet there
  std::optional<StepResult> stale_;       // of a group that is gone
  int64_t num_group_losses_ = 0;
  int64_t num_restarts_ = 0;
  int64_t num_preemptions_ = 0;
  int64_t num_swaps_ = 0;
  int64_t num_preemptions_before_ = 0;  // by engines that are gone
  int64_t num_swaps_before_ = 0;

  std::map<std::string, Submitted> open_;
  int64_t num_submitted_ = 0;
  int64_t num_steps_ = 0;
  std::map<StatusCode, int64_t> num_ended_;
};

}  // namespace longhand::engine
