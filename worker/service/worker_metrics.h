// WorkerMetrics: what a worker counts. Every family exists from the start.
#pragma once

#include "common/metrics.h"
#include "common/step_plan.h"
#include "worker/model/memory_budget.h"

namespace longhand::service {

class WorkerMetrics {
 public:
  explicit WorkerMetrics(Metrics& metrics);

  // Any thread.
  void OnEpoch(int64_t epoch);
  void OnLoaded(const model::MemoryBudget& memory, double seconds);
  void OnReady(bool ready);
  void OnStep(const StepPlan& plan, const StepResult& result);

 private:
  Metrics& metrics_;
  Gauge& epoch_;
  Gauge& ready_;
  Gauge& load_seconds_;
  Gauge& memory_bytes_;
  Gauge& step_;
  Counter& steps_;
  Counter& failed_steps_;
  Counter& tokens_;
  Histogram& step_seconds_;
  Histogram& communicate_seconds_;
};

}  // namespace longhand::service
