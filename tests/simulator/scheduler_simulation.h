// SchedulerSimulation: a scheduler under random traffic in virtual time, without workers and
// without text: results are made up. One seed is one run, to the bit.
//
// Each turn the scheduler's own invariants are checked, every plan by PlanChecker, and every
// admission against the queue's rules as they are written, computed here from all that wait.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "coordinator/engine/scheduler.h"
#include "tests/simulator/plan_checker.h"

namespace longhand::engine {

class SchedulerSimulation {
 public:
  struct Counts {
    int64_t steps = 0;
    int64_t answers = 0;  // that came to their end
    int64_t cancelled = 0;
    int64_t refused = 0;
    int64_t preemptions = 0;
    int64_t swaps_out = 0;   // of blocks
    int64_t swaps_in = 0;    // those of answers that end meanwhile do not come back
    int64_t hit_tokens = 0;  // of the prefix cache
    int64_t groups_lost = 0;
    int64_t waits_for_blocks = 0;  // a stream that got no token in a step for lack of a block
    int64_t longest_run = 0;       // steps from an answer's first admission to its end
    int64_t longest_pause = 0;     // steps in which the oldest answer did not get on
  };

  explicit SchedulerSimulation(uint64_t seed);

  // `num_turns` turns of traffic, then quiet until everything is over. What was wrong first; empty
  // when nothing was.
  std::string Run(int64_t num_turns);
  const Counts& counts() const { return counts_; }
  // Lines about every event, for a replay.
  void set_verbose(bool verbose) { verbose_ = verbose; }

 private:
  struct Answer {
    std::shared_ptr<const Request> request;
    uint32_t choice = 0;
    int64_t length = 0;  // at which it ends by itself
    int64_t expected_tokens = 0;
    TimePoint queued_at{};
    bool waits_for_tokens = false;
    Sequence* sequence = nullptr;
    bool has_run = false;
    int64_t first_admitted_step = -1;  // in this epoch
    int64_t num_charged_tokens = 0;    // by this file's books
  };

  uint64_t Random(uint64_t bound) { return random_() % bound; }
  bool Chance(double probability) {
    return static_cast<double>(Random(1 << 20)) < probability * (1 << 20);
  }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Random(static_cast<uint64_t>(high - low + 1)));
  }

  void FormGroup();
  void Arrive();
  void Queue(int64_t id, Answer& answer, std::vector<int32_t> output, Standing standing);
  void CancelRandom();
  void LoseGroup();
  void CountEpoch();
  void Plan();
  void CheckAdmission(const Sequence& sequence);
  void CommitStep();
  void End(int64_t id);
  void CheckTurn();
  double WeightOf(const std::string& tenant) const;
  template <typename... Parts>
  void Fail(const Parts&... parts);

  std::mt19937_64 random_;
  EngineConfig config_;
  GroupShape shape_;
  double arrival_chance_ = 0;
  double cancel_chance_ = 0;
  double loss_chance_ = 0;
  double wrong_expectation_chance_ = 0;
  TimePoint now_{};

  int64_t epoch_ = 0;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<PlanChecker> checker_;
  std::deque<StepPlan> in_flight_;
  std::vector<ContentHash> images_under_way_;

  std::map<int64_t, Answer> answers_;  // open ones, by sequence id
  int64_t next_id_ = 1;
  std::map<std::string, double> served_;  // by tenant, this file's books
  double now_served_ = 0;
  int64_t oldest_ = 0;  // running, and where it was when it last got on
  int64_t oldest_tokens_ = -1;
  int64_t oldest_since_step_ = 0;

  Counts counts_;
  std::string error_;
  bool verbose_ = false;
};

}  // namespace longhand::engine
