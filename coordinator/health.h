// Health: whether tokens can be made, looked at from all sides: the worker groups, their engines'
// threads, the journal. One group that makes tokens is enough, once all have been up.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "coordinator/cluster/readiness.h"
#include "coordinator/engine/delivery_gate.h"
#include "coordinator/group_health.h"

namespace longhand {

class Health final : public cluster::ReadinessSource {
 public:
  struct Parts {
    std::vector<GroupUnderWatch> groups;  // at least one
    const engine::DeliveryGate& gate;
    const Clock& clock;
    Metrics& metrics;
  };
  explicit Health(const Parts& parts);

  // Any thread: the groups as they are now, the engines as the latest look found them.
  cluster::Readiness Check() const override;
  // Any thread: the same for those that were taken before the server began to stop.
  bool CanMakeTokens() const;
  std::vector<cluster::Readiness> CheckGroups() const;
  // Any thread: from now on the server is stopping.
  void BeginDrain() { is_draining_ = true; }
  // One thread, some times a second: looks, and sets the metrics.
  cluster::Readiness Look();

 private:
  cluster::Readiness Judge(const std::vector<GroupHealth::Verdict>& groups) const;
  cluster::Readiness JudgeAtWork(const std::vector<GroupHealth::Verdict>& groups) const;

  const engine::DeliveryGate& gate_;
  const Clock& clock_;
  std::vector<std::unique_ptr<GroupHealth>> groups_;
  Gauge& ready_gauge_;
  Gauge& percent_gauge_;
  Gauge& spares_gauge_;
  std::optional<TimePoint> first_ready_at_;  // of any group; the thread that looks
  std::atomic<bool> waited_enough_ = false;  // for the others
  std::atomic<bool> was_ready_ = false;      // at a look
  std::atomic<bool> is_draining_ = false;
};

}  // namespace longhand
