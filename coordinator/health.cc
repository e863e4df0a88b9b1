#include "coordinator/health.h"

#include <algorithm>
#include <chrono>
#include <string>

namespace longhand {
namespace {

// Groups that are not up so long after the first one are not waited for: a coordinator that starts
// anew while a host is gone serves with the others.
constexpr Duration kStartPatience = std::chrono::seconds(60);

// What is said of the groups that are not ready.
std::string Missing(const std::vector<GroupHealth::Verdict>& groups) {
  std::string missing;
  for (size_t g = 0; g < groups.size(); ++g) {
    const cluster::Readiness& group = groups[g].readiness;
    if (group.ready) continue;
    missing += (missing.empty() ? "group " : "; group ") + std::to_string(g) + " " + group.phase +
               (group.detail.empty() ? "" : ": " + group.detail);
  }
  return missing;
}

}  // namespace

Health::Health(const Parts& parts)
    : gate_(parts.gate),
      clock_(parts.clock),
      ready_gauge_(parts.metrics.GetGauge("longhand_ready")),
      percent_gauge_(parts.metrics.GetGauge("longhand_load_percent")),
      spares_gauge_(parts.metrics.GetGauge("longhand_spare_workers_ready")) {
  for (const GroupUnderWatch& group : parts.groups)
    groups_.push_back(std::make_unique<GroupHealth>(group, clock_));
}

cluster::Readiness Health::Check() const {
  std::vector<GroupHealth::Verdict> verdicts;
  for (const auto& group : groups_) verdicts.push_back(group->Check());
  return Judge(verdicts);
}

std::vector<cluster::Readiness> Health::CheckGroups() const {
  std::vector<cluster::Readiness> all;
  for (const auto& group : groups_) all.push_back(group->Check().readiness);
  return all;
}

cluster::Readiness Health::Look() {
  std::vector<GroupHealth::Verdict> verdicts;
  int32_t num_spares_ready = 0;
  for (const auto& group : groups_) {
    verdicts.push_back(group->Look());
    num_spares_ready += verdicts.back().num_spares_ready;
    if (verdicts.back().readiness.ready && !first_ready_at_) first_ready_at_ = clock_.Now();
  }
  if (first_ready_at_ && clock_.Now() - *first_ready_at_ > kStartPatience) waited_enough_ = true;
  const cluster::Readiness readiness = Judge(verdicts);
  was_ready_ = readiness.was_ready;
  ready_gauge_.Set(readiness.ready ? 1 : 0);
  percent_gauge_.Set(readiness.percent);
  spares_gauge_.Set(num_spares_ready);
  return readiness;
}

bool Health::CanMakeTokens() const {
  std::vector<GroupHealth::Verdict> verdicts;
  for (const auto& group : groups_) verdicts.push_back(group->Check());
  return JudgeAtWork(verdicts).ready;
}

cluster::Readiness Health::Judge(const std::vector<GroupHealth::Verdict>& groups) const {
  cluster::Readiness readiness = JudgeAtWork(groups);
  const auto drains = [](const auto& group) { return group.is_draining; };
  if (!is_draining_ && std::none_of(groups.begin(), groups.end(), drains)) return readiness;
  readiness.ready = false;
  readiness.was_ready = was_ready_;
  readiness.phase = "draining";
  readiness.detail = "the server is stopping";
  return readiness;
}

cluster::Readiness Health::JudgeAtWork(const std::vector<GroupHealth::Verdict>& groups) const {
  const auto is_ready = [](const auto& group) { return group.readiness.ready; };
  const auto num_ready = std::count_if(groups.begin(), groups.end(), is_ready);
  const bool all_ready = num_ready == static_cast<int64_t>(groups.size());
  cluster::Readiness readiness{.was_ready = was_ready_, .phase = "ready"};
  for (const auto& group : groups) readiness.percent += group.readiness.percent;
  readiness.percent /= static_cast<double>(groups.size());
  const auto not_ready = [&](const std::string& phase, std::string detail) {
    readiness.phase = phase;
    readiness.detail = std::move(detail);
    return readiness;
  };
  const bool all_were_ready =
      std::all_of(groups.begin(), groups.end(), [](const auto& g) { return g.was_ready; });
  const Status gate = gate_.CheckAdmission();
  if (num_ready == 0 || !(all_ready || all_were_ready || waited_enough_)) {
    const auto waited_for = std::find_if_not(groups.begin(), groups.end(), is_ready);
    const std::string detail = groups.size() == 1 ? waited_for->readiness.detail : Missing(groups);
    return not_ready(waited_for->readiness.phase, gate.ok() || detail.empty()
                                                      ? detail + gate.message()
                                                      : detail + "; " + gate.message());
  }
  // What had to start has: a probe that waits for that must not restart it for the disk's sake.
  readiness.was_ready = true;
  if (!gate.ok()) return not_ready("journal", gate.message());
  readiness.ready = true;
  readiness.detail = Missing(groups);
  return readiness;
}

}  // namespace longhand
