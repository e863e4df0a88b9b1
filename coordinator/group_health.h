// GroupHealth: whether one worker group makes tokens, looked at from both sides: the group, and the
// thread of the engine that plans for it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "coordinator/cluster/readiness.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine_stats.h"

namespace longhand {

// What it is asked through.
struct GroupUnderWatch {
  std::function<cluster::GroupStatus()> status;
  // Asks the engine's thread for its stats; false when the question could not be put.
  std::function<bool(std::function<void(const engine::EngineStats&)>)> ask_engine;
  Metrics& metrics;  // the group's own
  int num_ranks = 1;
};

class GroupHealth {
 public:
  GroupHealth(GroupUnderWatch group, const Clock& clock);

  struct Verdict {
    cluster::Readiness readiness;
    bool was_ready = false;  // now or before
    bool is_draining = false;
    int32_t num_spares_ready = 0;
  };
  // Any thread: the group as it is now, the engine as the latest look found it.
  Verdict Check() const;
  // One thread, some times a second: looks, and sets the metrics of its ranks.
  Verdict Look();

 private:
  // Of the engine's thread, which answers when it likes; shared with the question that is out.
  struct EngineAnswer {
    std::mutex mutex;
    bool is_awaited = false;
    engine::EngineStats stats;
  };
  struct RankGauges {
    Gauge& step;
    Gauge& heartbeat_age;
    Gauge& progress_age;
  };

  Duration EngineSilence(engine::EngineStats* stats);

  const GroupUnderWatch group_;
  const Clock& clock_;
  const std::shared_ptr<EngineAnswer> answer_ = std::make_shared<EngineAnswer>();
  std::vector<RankGauges> rank_gauges_;
  TimePoint looked_at_;
  Duration awaited_for_{};  // the engine's answer, by looks

  mutable std::mutex mutex_;
  engine::EngineStats stats_;
  Duration engine_silence_{};
};

}  // namespace longhand
