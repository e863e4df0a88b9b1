// Health: whether tokens can be made, looked at from all sides: the worker group, the engine's
// thread, the journal.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "coordinator/cluster/readiness.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/delivery_gate.h"
#include "coordinator/engine/engine_stats.h"

namespace longhand {

class Health final : public cluster::ReadinessSource {
 public:
  struct Parts {
    std::function<cluster::GroupStatus()> group;
    // Asks the engine's thread for its stats; false when the question could not be put.
    std::function<bool(std::function<void(const engine::EngineStats&)>)> ask_engine;
    const engine::DeliveryGate& gate;
    const Clock& clock;
    Metrics& metrics;
    int num_ranks = 1;
  };
  explicit Health(Parts parts);

  // Any thread: the group as it is now, the engine as the latest look found it.
  cluster::Readiness Check() const override;
  // One thread, some times a second: looks, and sets the metrics.
  cluster::Readiness Look();

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
  cluster::Readiness Judge(const cluster::GroupStatus& group,
                           const engine::EngineStats& engine,
                           Duration engine_silence) const;
  void SetMetrics(const cluster::GroupStatus& group, const cluster::Readiness& readiness);

  const Parts parts_;
  const std::shared_ptr<EngineAnswer> answer_ = std::make_shared<EngineAnswer>();
  Gauge& ready_gauge_;
  Gauge& percent_gauge_;
  Gauge& spares_gauge_;
  std::vector<RankGauges> rank_gauges_;
  TimePoint looked_at_;
  Duration awaited_for_{};  // the engine's answer, by looks

  mutable std::mutex mutex_;
  engine::EngineStats stats_;
  Duration engine_silence_{};
};

}  // namespace longhand
