// Replica: one worker group, the engine that plans for it, and the engine's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/clock.h"
#include "common/metrics.h"
#include "coordinator/cluster/roster.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/queue_totals.h"
#include "coordinator/group_health.h"

namespace longhand {

class Replica {
 public:
  // What all replicas share; outlives them.
  struct Shared {
    const engine::EngineConfig& engine;
    const engine::TextStateFactory& text;
    const engine::DeliveryGate& gate;
    const Clock& clock;
    engine::RequestObserver on_request_end;
    std::shared_ptr<engine::QueueTotals> waiting;
    cluster::Roster& roster;
  };
  // `metrics` are this group's, and outlive this. What `observer` counts comes beside it.
  Replica(const Shared& shared,
          Metrics& metrics,
          cluster::WorkerGroupConfig config,
          cluster::GroupObserver observer);

  void Start(const std::string& rendezvous_address);
  // After Engine::Stop: waits for the engine's thread, and ends the group.
  void Stop();

  engine::Engine& engine() { return engine_; }
  cluster::WorkerGroup& group() { return group_; }
  cluster::GroupStatus status() const { return group_.status(); }
  const std::string& name() const { return group_.name(); }
  GroupUnderWatch UnderWatch();

 private:
  cluster::GroupObserver Counting(cluster::GroupObserver observer);
  Counter& Losses(const char* cause);
  void ShowCache(const cluster::Capacity& capacity);

  Metrics& metrics_;
  const int num_ranks_;
  cluster::WorkerGroup group_;
  engine::Engine engine_;
  std::thread engine_thread_;
};

}  // namespace longhand
