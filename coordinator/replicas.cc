#include "coordinator/replicas.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <random>
#include <utility>

#include "coordinator/cluster/capacity.h"
#include "coordinator/tell.h"

namespace longhand {
namespace {

std::unique_ptr<cluster::WorkerDirectory> MakeDirectory(const Replicas::Parts& parts) {
  if (parts.workers.dns.empty()) return nullptr;
  return std::make_unique<cluster::WorkerDirectory>(
      static_cast<size_t>(parts.options.num_workers()),
      [name = parts.workers.dns] { return cluster::LookUp(name); });
}

}  // namespace

Replicas::Replicas(const Parts& parts) : parts_(parts), directory_(MakeDirectory(parts)) {
  const int num_groups = parts_.options.data_parallel_size;
  is_ready_.resize(static_cast<size_t>(num_groups));
  ranks_.resize(static_cast<size_t>(parts_.options.num_ranks()));
  const Replica::Shared shared = {.engine = parts_.engine,
                                  .text = parts_.text,
                                  .gate = parts_.gate,
                                  .clock = parts_.clock,
                                  .on_request_end = parts_.on_request_end,
                                  .waiting = std::make_shared<engine::QueueTotals>(),
                                  .roster = roster_};
  // Shared memory and sockets have these names on hosts that others use too.
  std::random_device random;
  const std::string prefix =
      "lh-" + std::to_string(getpid()) + "-" + std::to_string(random()) + "-";
  for (int group = 0; group < num_groups; ++group) {
    const std::string name = prefix + std::to_string(group);
    replicas_.push_back(std::make_unique<Replica>(shared, MetricsOf(group), ConfigOf(group, name),
                                                  ObserverOf(group, name)));
    router_.Join(replicas_.back()->engine());
  }
}

// A single group's series have no label that says so.
Metrics& Replicas::MetricsOf(int group) {
  if (parts_.options.data_parallel_size == 1) return parts_.metrics;
  metrics_.push_back(std::make_unique<GroupMetrics>(parts_.metrics, group));
  return *metrics_.back();
}

cluster::WorkerGroupConfig Replicas::ConfigOf(int group, const std::string& name) const {
  const auto size = static_cast<size_t>(parts_.options.num_workers_of_group());
  const size_t first = static_cast<size_t>(group) * size;
  std::vector<std::string> addresses(size);
  std::function<cluster::WorkerDirectory::Listing(const std::vector<size_t>&)> locate;
  if (directory_ != nullptr) {
    locate = [this, first](std::vector<size_t> lost) {
      for (size_t& worker : lost) worker += first;
      return directory_->Look(lost);
    };
  } else {
    std::copy_n(parts_.workers.each.begin() + static_cast<std::ptrdiff_t>(first), size,
                addresses.begin());
  }
  return {.addresses = std::move(addresses),
          .locate = std::move(locate),
          .options = parts_.options,
          .model = parts_.model,
          .max_pixels = parts_.max_pixels,
          .group_name = name,
          .group = group};
}

cluster::GroupObserver Replicas::ObserverOf(int group, const std::string& name) {
  const int first_worker = group * parts_.options.num_workers_of_group();
  return {.on_forming = [this, name] { parts_.rendezvous.Clear(name); },
          .on_change = [this, group](const auto& status) { OnChange(group, status); },
          .on_fatal = [this, group](const Status& status) { OnFatal(group, status); },
          .on_silent =
              [first_worker](int32_t worker) { Tell({{"silent_worker", first_worker + worker}}); },
          .on_loss = nullptr};
}

void Replicas::Start(const std::string& rendezvous_address) {
  for (const auto& replica : replicas_) replica->Start(rendezvous_address);
}

void Replicas::Stop() {
  router_.Stop();
  for (const auto& replica : replicas_) replica->Stop();
}

void Replicas::LoadAdapter(const engine::Adapter& adapter,
                           std::function<void(const Status&)> done) {
  struct Loads {
    std::mutex mutex;
    size_t missing;
    Status error;
    std::function<void(const Status&)> done;
  };
  const auto loads = std::make_shared<Loads>();
  loads->missing = replicas_.size();
  loads->done = std::move(done);
  const int32_t slot = adapter.slot;
  for (const auto& replica : replicas_) {
    replica->group().LoadAdapter(adapter, [this, loads, slot](const Status& status) {
      {
        std::lock_guard lock(loads->mutex);
        if (loads->error.ok()) loads->error = status;
        if (--loads->missing > 0) return;
      }
      if (!loads->error.ok()) ForgetAdapter(slot);
      loads->done(loads->error);
    });
  }
}

void Replicas::ForgetAdapter(int32_t slot) {
  for (const auto& replica : replicas_) replica->group().ForgetAdapter(slot);
}

std::vector<GroupUnderWatch> Replicas::UnderWatch() {
  std::vector<GroupUnderWatch> all;
  for (const auto& replica : replicas_) all.push_back(replica->UnderWatch());
  return all;
}

int64_t Replicas::max_model_len() const {
  int64_t least = 0;
  for (const auto& replica : replicas_) {
    const int64_t planned = replica->status().capacity.max_model_len;
    if (planned > 0) least = least > 0 ? std::min(least, planned) : planned;
  }
  return least;
}

void Replicas::View(const Health& health, std::function<void(std::vector<GroupView>)> answer) {
  router_.GetStats([this, &health, answer = std::move(answer)](const auto& engines) {
    const std::vector<cluster::Readiness> readiness = health.CheckGroups();
    std::vector<GroupView> groups;
    for (size_t g = 0; g < replicas_.size(); ++g)
      groups.push_back({replicas_[g]->status(), readiness[g], engines[g]});
    answer(std::move(groups));
  });
}

void Replicas::TellNews() {
  std::lock_guard lock(mutex_);
  if (!std::exchange(has_news_, false)) return;
  Tell({{"ready", all_are_ready_}, {"workers", boost::json::array(ranks_.begin(), ranks_.end())}});
}

// The supervisor wants all groups up.
void Replicas::OnChange(int group, const cluster::GroupStatus& status) {
  const bool is_ready = status.state == cluster::GroupState::kReady;
  const std::string which = is_ready_.size() > 1 ? " " + std::to_string(group) : "";
  spdlog::info("worker group{}: epoch {}, {}", which, status.epoch,
               is_ready ? "ready" : status.detail);
  if (is_ready) spdlog::info("\n{}", cluster::CapacityTable(status.capacity, parts_.model, 1));
  std::lock_guard lock(mutex_);
  is_ready_[static_cast<size_t>(group)] = is_ready;
  const int first_worker = group * parts_.options.num_workers_of_group();
  const auto first_rank = ranks_.begin() + group * parts_.options.tensor_parallel_size;
  std::transform(status.workers.begin(), status.workers.end(), first_rank,
                 [&](int32_t worker) { return first_worker + worker; });
  const bool all = std::find(is_ready_.begin(), is_ready_.end(), false) == is_ready_.end();
  all_were_ready_ |= all;
  if (std::exchange(all_are_ready_, all) == all) return;
  has_news_ = true;
  parts_.on_news();
}

// What one group lacks when it comes back is no reason to end the others.
void Replicas::OnFatal(int group, const Status& status) {
  {
    std::lock_guard lock(mutex_);
    const bool any = std::find(is_ready_.begin(), is_ready_.end(), true) != is_ready_.end();
    if (all_were_ready_ && any) {
      spdlog::error("worker group {} cannot be formed again: {}", group, status.message());
      return;
    }
    if (std::exchange(is_fatal_, true)) return;
  }
  parts_.on_fatal(status);
}

}  // namespace longhand
