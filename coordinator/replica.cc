#include "coordinator/replica.h"

#include <utility>

namespace longhand {

Replica::Replica(const Shared& shared,
                 Metrics& metrics,
                 cluster::WorkerGroupConfig config,
                 cluster::GroupObserver observer)
    : metrics_(metrics),
      num_ranks_(config.options.tensor_parallel_size),
      group_(std::move(config), shared.roster, shared.clock, Counting(std::move(observer))),
      engine_(shared.engine,
              {.executor = group_,
               .text = shared.text,
               .clock = shared.clock,
               .metrics = metrics,
               .gate = shared.gate,
               .on_request_end = shared.on_request_end,
               .waiting = shared.waiting}) {
  for (const char* cause : cluster::kLossCauseNames) Losses(cause);
}

void Replica::Start(const std::string& rendezvous_address) {
  group_.SetRendezvousAddress(rendezvous_address);
  engine_thread_ = std::thread([this] { engine_.Run(); });
  group_.Start(engine_);
}

void Replica::Stop() {
  if (engine_thread_.joinable()) engine_thread_.join();
  group_.Stop();
}

GroupUnderWatch Replica::UnderWatch() {
  return {.status = [this] { return group_.status(); },
          .ask_engine = [this](auto done) { return engine_.GetStats(std::move(done)).ok(); },
          .metrics = metrics_,
          .num_ranks = num_ranks_};
}

cluster::GroupObserver Replica::Counting(cluster::GroupObserver observer) {
  observer.on_loss = [this](cluster::LossCause cause) {
    Losses(cluster::kLossCauseNames[static_cast<size_t>(cause)]).Increment();
  };
  observer.on_change = [this, tell = std::move(observer.on_change)](const auto& status) {
    if (status.state == cluster::GroupState::kReady) ShowCache(status.capacity);
    tell(status);
  };
  return observer;
}

Counter& Replica::Losses(const char* cause) {
  return metrics_.GetCounter("longhand_failovers_total", {{"cause", cause}});
}

// Each group that is formed may have another cache: what is free then decides.
void Replica::ShowCache(const cluster::Capacity& capacity) {
  metrics_.SetInfo("longhand_kv_cache_config_info",
                   {{"block_size", std::to_string(capacity.block_size)},
                    {"num_blocks", std::to_string(capacity.num_blocks)},
                    {"dtype", std::string(DTypeName(capacity.kv_dtype))}},
                   1);
}

}  // namespace longhand
