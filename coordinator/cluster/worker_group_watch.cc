// The thread of a WorkerGroup that listens to heartbeats: who is lost, whether steps come on, and
// which spare is to be made ready.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "common/duration.h"
#include "coordinator/cluster/progress_judge.h"
#include "coordinator/cluster/worker_group.h"
#include "proto/grpc_status.h"

namespace longhand::cluster {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick(50);
// Time that a tick may count for: beyond, it was this process that stood still.
constexpr Duration kMostOfATick = milliseconds(250);
constexpr milliseconds kLookForSparesEvery(250);
// A load gets on in pieces that take longer than a step's.
constexpr milliseconds kLoadLimit(30'000);
// The slowest GPU's idea of work, in weight bytes a second for each token of a step.
constexpr double kSlowGpuBytesPerSecond = 20e12;

}  // namespace

void WorkerGroup::Watch() {
  TimePoint before = clock_.Now();
  while (!stopping()) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kTick, [&] { return stopping(); });
    }
    const TimePoint now = clock_.Now();
    const Duration listened = std::min(now - before, kMostOfATick);
    before = now;
    for (const auto& worker : workers_) worker->OnTime(listened);
    WatchRanks(listened);
    WatchSpares();
  }
}

void WorkerGroup::WatchRanks(Duration listened) {
  std::unique_lock lock(mutex_);
  if (!has_ranks_ || !down_.ok()) return;
  const int64_t epoch = status_.epoch;
  const std::vector<Heartbeat> ranks = Heartbeats();
  status_.stalled = up_ ? WhyStalled(ranks, OperationLimit()) : "";
  ledger_->OnTime(listened);
  const Status deadline = ledger_->CheckDeadline();
  const bool is_up = up_;
  lock.unlock();

  const milliseconds heartbeat_limit(config_.options.heartbeat_timeout_ms);
  if (const int32_t rank = FindSilentRank(ranks, heartbeat_limit); rank >= 0) {
    return Lose(epoch, rank, LossCause::kSilence,
                Unavailable("worker rank ", rank, " has not been heard for ",
                            Milliseconds(ranks[static_cast<size_t>(rank)].silent_for()),
                            " ms, more than the ", heartbeat_limit.count(), " ms allowed"));
  }
  // A thread that is stuck outside of a step, in one that is overdue, or while the group forms.
  const milliseconds step_limit(config_.options.step_timeout_ms);
  const milliseconds limit = is_up ? step_limit : std::max(step_limit, kLoadLimit);
  const int32_t stuck = FindStuckRank(ranks, deadline.ok() ? Duration(limit) : kStillLimit,
                                      is_up ? Operations::kLong : Operations::kShort);
  if (stuck >= 0) {
    const Duration still_for = ranks[static_cast<size_t>(stuck)].still_for();
    return Lose(epoch, stuck, LossCause::kStandstill,
                deadline.ok() ? Unavailable("worker rank ", stuck, " has stood still for ",
                                            Milliseconds(still_for), " ms, more than the ",
                                            limit.count(), " ms allowed")
                              : Unavailable(deadline.message()));
  }
  if (!deadline.ok()) GoDown(epoch, LossCause::kStepTimeout, Unavailable(deadline.message()));
}

// What an operation in flight may take on a device that does not tell how far it is.
Duration WorkerGroup::OperationLimit() const {
  if (ranks_[0].worker->description().device() != "cuda") return Duration::max();
  const double seconds = static_cast<double>(ledger_->num_tokens()) *
                         static_cast<double>(WeightBytesOfARank()) / kSlowGpuBytesPerSecond;
  return kStillLimit + milliseconds(static_cast<int64_t>(seconds * 1000));
}

std::vector<Heartbeat> WorkerGroup::Heartbeats() const {
  std::vector<Heartbeat> heartbeats;
  for (const Rank& rank : ranks_) heartbeats.push_back(rank.worker->heartbeat());
  return heartbeats;
}

// The worker has to go before its place is taken: whatever it still sends is of an epoch that is
// over.
void WorkerGroup::Lose(int64_t epoch, int32_t rank, LossCause cause, const Status& why) {
  WorkerLink* worker = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (epoch != status_.epoch || !down_.ok()) return;
    worker = ranks_[static_cast<size_t>(rank)].worker;
  }
  worker->Close();
  GoDown(epoch, cause, why);
  observer_.on_silent(WorkerIdx(worker));
}

void WorkerGroup::WatchSpares() {
  std::unique_lock lock(mutex_);
  const TimePoint now = clock_.Now();
  const bool looks_for_spares = now - looked_for_spares_at_ > kLookForSparesEvery;
  if (looks_for_spares) looked_for_spares_at_ = now;
  for (size_t i = 0; i < spares_.size(); ++i) {
    Spare& spare = spares_[i];
    WorkerLink& worker = *spare.worker;
    if (!worker.alive()) spare.prepared = Spare::Prepared::kNo;
    const milliseconds heartbeat_limit(config_.options.heartbeat_timeout_ms);
    if (worker.alive() && worker.heartbeat().silent_for() > heartbeat_limit) {
      spdlog::warn("spare worker {} has not been heard for {} ms", worker.address(),
                   Milliseconds(worker.heartbeat().silent_for()));
      worker.Close();
      const int32_t idx = WorkerIdx(&worker);
      lock.unlock();
      observer_.on_silent(idx);
      lock.lock();
      return;  // The spares may be others now.
    }
    if (looks_for_spares) worker.Open();
    if (up_ && worker.alive() && spare.prepared == Spare::Prepared::kNo) PrepareSpare(i);
  }
}

// With mutex_ held. The first spare holds what rank 0 needs, and so on: in the place of that rank
// it loads nothing.
void WorkerGroup::PrepareSpare(size_t idx) {
  Spare& spare = spares_[idx];
  spare.prepared = Spare::Prepared::kAsked;
  const auto call = std::make_shared<PrepareCall>();
  call->request = MakeConfigureRequest(static_cast<int32_t>(idx % ranks_.size()), status_.capacity);
  spare.worker->stub()->async()->Prepare(
      &call->context, &call->request, &call->response,
      [this, idx, context = BeginCall(call, &prepare_calls_),
       worker = spare.worker](const grpc::Status& status) mutable {
        OnPrepared(idx, *worker, FromGrpc(status));
        EndCall(std::move(context), &prepare_calls_);
      });
}

void WorkerGroup::OnPrepared(size_t idx, const WorkerLink& worker, const Status& status) {
  std::lock_guard lock(mutex_);
  if (spares_[idx].worker != &worker) return;  // It has a rank now.
  if (status.ok()) {
    spares_[idx].prepared = Spare::Prepared::kYes;
  } else if (status.code() == StatusCode::kFailedPrecondition) {
    spares_[idx].prepared = Spare::Prepared::kNo;  // It is still leaving an epoch.
  } else if (!stopping()) {
    spdlog::warn("spare worker {} is not prepared: {}", worker.address(), status.message());
  }
}

}  // namespace longhand::cluster
