// Replicas: the worker groups of --data-parallel-size with their engines, behind one router; and
// what the supervisor is told of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/metrics.h"
#include "common/options/serve_options.h"
#include "coordinator/cluster/rendezvous_service.h"
#include "coordinator/cluster/roster.h"
#include "coordinator/cluster/worker_directory.h"
#include "coordinator/engine/router.h"
#include "coordinator/group_health.h"
#include "coordinator/health.h"
#include "coordinator/replica.h"
#include "coordinator/status_response.h"

namespace longhand {

// One of the two says where the workers are.
struct WorkerAddresses {
  std::vector<std::string> each;  // --workers: num_workers_of_group() of each group, in turn
  std::string dns;                // --workers-dns: NAME:PORT, whose addresses are they
};

class Replicas {
 public:
  struct Parts {
    const ServeOptions& options;
    const WorkerAddresses& workers;
    const ModelConfig& model;
    int64_t max_pixels = 0;  // of a resized picture
    const engine::EngineConfig& engine;
    const engine::TextStateFactory& text;
    const engine::DeliveryGate& gate;
    const Clock& clock;
    Metrics& metrics;
    engine::RequestObserver on_request_end;
    cluster::RendezvousService& rendezvous;
    // There is something to tell. Any thread.
    std::function<void()> on_news;
    // Forming groups again cannot mend it. Once; any thread.
    std::function<void(const Status&)> on_fatal;
  };
  explicit Replicas(const Parts& parts);

  void Start(const std::string& rendezvous_address);
  // Tells the supervisor what is new: whether all groups are up, and which worker each rank is.
  void TellNews();
  void Stop();

  // As WorkerGroup's, of all groups.
  void LoadAdapter(const engine::Adapter& adapter, std::function<void(const Status&)> done);
  void ForgetAdapter(int32_t slot);

  engine::Router& router() { return router_; }
  std::vector<GroupUnderWatch> UnderWatch();
  // Tokens of prompt and answer that every group has room for; 0 before one has been planned.
  int64_t max_model_len() const;
  // Does not wait; `answer` comes once, from any thread.
  void View(const Health& health, std::function<void(std::vector<GroupView>)> answer);

 private:
  Metrics& MetricsOf(int group);
  cluster::WorkerGroupConfig ConfigOf(int group, const std::string& name) const;
  cluster::GroupObserver ObserverOf(int group, const std::string& name);
  void OnChange(int group, const cluster::GroupStatus& status);
  void OnFatal(int group, const Status& status);

  const Parts parts_;
  const std::unique_ptr<cluster::WorkerDirectory> directory_;  // with --workers-dns
  cluster::Roster roster_;
  engine::Router router_;
  std::vector<std::unique_ptr<GroupMetrics>> metrics_;  // where there are several groups
  std::vector<std::unique_ptr<Replica>> replicas_;

  std::mutex mutex_;            // of what the membership threads tell
  std::vector<bool> is_ready_;  // each group
  std::vector<int32_t> ranks_;  // which of the workers each rank is, group after group
  bool all_are_ready_ = false;
  bool has_news_ = false;        // since TellNews
  bool all_were_ready_ = false;  // at one time
  bool is_fatal_ = false;        // on_fatal was told
};

}  // namespace longhand
