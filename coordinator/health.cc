#include "coordinator/health.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "common/duration.h"

namespace longhand {
namespace {

using std::chrono::milliseconds;

// The engine's thread turns at least ten times a second.
constexpr Duration kEngineLimit = milliseconds(1500);
// What one look may count for: beyond, it was this process that stood still.
constexpr Duration kMostOfALook = milliseconds(300);

std::string PhaseOf(cluster::GroupState state) {
  switch (state) {
    case cluster::GroupState::kConnecting:
      return "connecting";
    case cluster::GroupState::kLoading:
      return "loading";
    case cluster::GroupState::kWarmingUp:
      return "warming_up";
    case cluster::GroupState::kReady:
      return "ready";
    case cluster::GroupState::kFailed:
      return "failed";
  }
  return "";
}

double PercentLoaded(const cluster::GroupStatus& group) {
  double sum = 0;
  for (const cluster::RankStatus& rank : group.ranks) sum += rank.load_progress;
  return group.ranks.empty() ? 0 : 100 * sum / static_cast<double>(group.ranks.size());
}

}  // namespace

Health::Health(Parts parts)
    : parts_(std::move(parts)),
      ready_gauge_(parts_.metrics.GetGauge("longhand_ready")),
      percent_gauge_(parts_.metrics.GetGauge("longhand_load_percent")),
      spares_gauge_(parts_.metrics.GetGauge("longhand_spare_workers_ready")),
      looked_at_(parts_.clock.Now()) {
  for (int rank = 0; rank < parts_.num_ranks; ++rank) {
    const MetricLabels labels = {{"rank", std::to_string(rank)}};
    rank_gauges_.push_back(
        {.step = parts_.metrics.GetGauge("longhand_rank_step", labels),
         .heartbeat_age = parts_.metrics.GetGauge("longhand_rank_heartbeat_age_seconds", labels),
         .progress_age = parts_.metrics.GetGauge("longhand_rank_progress_age_seconds", labels)});
  }
}

cluster::Readiness Health::Check() const {
  engine::EngineStats stats;
  Duration engine_silence;
  {
    std::lock_guard lock(mutex_);
    stats = stats_;
    engine_silence = engine_silence_;
  }
  return Judge(parts_.group(), stats, engine_silence);
}

cluster::Readiness Health::Look() {
  engine::EngineStats stats;
  const Duration engine_silence = EngineSilence(&stats);
  const cluster::GroupStatus group = parts_.group();
  const cluster::Readiness readiness = Judge(group, stats, engine_silence);
  SetMetrics(group, readiness);
  std::lock_guard lock(mutex_);
  stats_ = stats;
  engine_silence_ = engine_silence;
  return readiness;
}

// How long the engine has owed an answer, and the latest that it gave.
Duration Health::EngineSilence(engine::EngineStats* stats) {
  const TimePoint now = parts_.clock.Now();
  const Duration passed = std::min(now - looked_at_, kMostOfALook);
  looked_at_ = now;
  {
    std::lock_guard lock(answer_->mutex);
    *stats = answer_->stats;
    if (answer_->is_awaited) return awaited_for_ += passed;
    answer_->is_awaited = true;
  }
  awaited_for_ = Duration::zero();
  const bool asked = parts_.ask_engine([answer = answer_](const engine::EngineStats& given) {
    std::lock_guard lock(answer->mutex);
    answer->is_awaited = false;
    answer->stats = given;
  });
  if (!asked) {  // Too many commands wait: it is busy, and not known to stand still.
    std::lock_guard lock(answer_->mutex);
    answer_->is_awaited = false;
  }
  return Duration::zero();
}

cluster::Readiness Health::Judge(const cluster::GroupStatus& group,
                                 const engine::EngineStats& engine,
                                 Duration engine_silence) const {
  cluster::Readiness readiness{.phase = PhaseOf(group.state), .percent = PercentLoaded(group)};
  const auto not_ready = [&](const char* phase, std::string detail) {
    readiness.phase = phase;
    readiness.detail = std::move(detail);
    return readiness;
  };
  if (engine.draining) return not_ready("draining", "the server is stopping");
  if (group.state != cluster::GroupState::kReady) {
    readiness.detail = group.detail;
    return readiness;
  }
  if (!group.stalled.empty()) return not_ready("stalled", group.stalled);
  if (engine_silence > kEngineLimit) {
    return not_ready("stalled", "the engine has not answered for " +
                                    std::to_string(Milliseconds(engine_silence)) + " ms");
  }
  if (const Status gate = parts_.gate.CheckAdmission(); !gate.ok())
    return not_ready("journal", gate.message());
  readiness.ready = true;
  return readiness;
}

void Health::SetMetrics(const cluster::GroupStatus& group, const cluster::Readiness& readiness) {
  ready_gauge_.Set(readiness.ready ? 1 : 0);
  percent_gauge_.Set(readiness.percent);
  spares_gauge_.Set(group.num_spares_ready);
  for (size_t r = 0; r < std::min(rank_gauges_.size(), group.ranks.size()); ++r) {
    rank_gauges_[r].step.Set(static_cast<double>(group.ranks[r].step));
    rank_gauges_[r].heartbeat_age.Set(Seconds(group.ranks[r].silent_for));
    rank_gauges_[r].progress_age.Set(Seconds(group.ranks[r].still_for));
  }
}

}  // namespace longhand
