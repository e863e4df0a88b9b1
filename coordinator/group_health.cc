#include "coordinator/group_health.h"

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

GroupHealth::Verdict Judge(const cluster::GroupStatus& group,
                           const engine::EngineStats& engine,
                           Duration engine_silence) {
  GroupHealth::Verdict verdict{
      .readiness = {.phase = PhaseOf(group.state), .percent = PercentLoaded(group)},
      .was_ready = group.was_ready,
      .is_draining = engine.draining,
      .num_spares_ready = group.num_spares_ready};
  cluster::Readiness& readiness = verdict.readiness;
  if (group.state != cluster::GroupState::kReady) {
    readiness.detail = group.detail;
  } else if (!group.stalled.empty()) {
    readiness.phase = "stalled";
    readiness.detail = group.stalled;
  } else if (engine_silence > kEngineLimit) {
    readiness.phase = "stalled";
    readiness.detail =
        "the engine has not answered for " + std::to_string(Milliseconds(engine_silence)) + " ms";
  } else {
    readiness.ready = true;
  }
  return verdict;
}

}  // namespace

GroupHealth::GroupHealth(GroupUnderWatch group, const Clock& clock)
    : group_(std::move(group)), clock_(clock), looked_at_(clock.Now()) {
  for (int rank = 0; rank < group_.num_ranks; ++rank) {
    const MetricLabels labels = {{"rank", std::to_string(rank)}};
    rank_gauges_.push_back(
        {.step = group_.metrics.GetGauge("longhand_rank_step", labels),
         .heartbeat_age = group_.metrics.GetGauge("longhand_rank_heartbeat_age_seconds", labels),
         .progress_age = group_.metrics.GetGauge("longhand_rank_progress_age_seconds", labels)});
  }
}

GroupHealth::Verdict GroupHealth::Check() const {
  engine::EngineStats stats;
  Duration engine_silence;
  {
    std::lock_guard lock(mutex_);
    stats = stats_;
    engine_silence = engine_silence_;
  }
  return Judge(group_.status(), stats, engine_silence);
}

GroupHealth::Verdict GroupHealth::Look() {
  engine::EngineStats stats;
  const Duration engine_silence = EngineSilence(&stats);
  const cluster::GroupStatus group = group_.status();
  for (size_t r = 0; r < std::min(rank_gauges_.size(), group.ranks.size()); ++r) {
    rank_gauges_[r].step.Set(static_cast<double>(group.ranks[r].step));
    rank_gauges_[r].heartbeat_age.Set(Seconds(group.ranks[r].silent_for));
    rank_gauges_[r].progress_age.Set(Seconds(group.ranks[r].still_for));
  }
  {
    std::lock_guard lock(mutex_);
    stats_ = stats;
    engine_silence_ = engine_silence;
  }
  return Judge(group, stats, engine_silence);
}

// How long the engine has owed an answer, and the latest that it gave.
Duration GroupHealth::EngineSilence(engine::EngineStats* stats) {
  const TimePoint now = clock_.Now();
  const Duration passed = std::min(now - looked_at_, kMostOfALook);
  looked_at_ = now;
  {
    std::lock_guard lock(answer_->mutex);
    *stats = answer_->stats;
    if (answer_->is_awaited) return awaited_for_ += passed;
    answer_->is_awaited = true;
  }
  awaited_for_ = Duration::zero();
  const bool asked = group_.ask_engine([answer = answer_](const engine::EngineStats& given) {
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

}  // namespace longhand
