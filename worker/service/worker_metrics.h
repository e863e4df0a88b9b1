// WorkerMetrics: what a worker counts, as common/prometheus/metric_table.h declares it.
#pragma once

#include <cstdint>
#include <string>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/step_plan.h"
#include "worker/comm/create_communicator.h"
#include "worker/model/memory_budget.h"

namespace longhand::service {

// Of one group's collectives. Any thread.
struct CollectiveMetrics {
  struct Operation {
    Counter* calls;
    Counter* bytes;  // null where there are none
  };
  Operation all_reduce;
  Operation all_gather;
  Operation broadcast;
  Operation barrier;
  Histogram* all_reduce_seconds;  // null where calls return before they are done
};

class WorkerMetrics {
 public:
  explicit WorkerMetrics(Metrics& metrics);

  // Any thread. `group` is empty for the only one.
  void OnEpoch(int64_t epoch, const std::string& group, int rank);
  void OnLoaded(const model::MemoryBudget& memory, double seconds);
  void OnReady(bool ready);
  void OnStep(int64_t num_tokens, const StepResult& result);
  // Calls end before they return only where tensors are the host's.
  CollectiveMetrics OfCollectives(comm::Transport transport, bool on_host) const;

 private:
  CollectiveMetrics::Operation OperationOf(const char* name, bool has_bytes) const;

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
