#include "worker/service/watch_call.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace longhand::service {
namespace {

using std::chrono::milliseconds;

milliseconds PeriodOf(const worker::v1::WatchRequest& request) {
  return milliseconds(std::clamp<int64_t>(request.period_ms(), 10, 60'000));
}

}  // namespace

WatchCall* WatchCall::Start(const worker::v1::WatchRequest& request,
                            worker::v1::DescribeResponse description,
                            const Executor& executor) {
  const std::shared_ptr<WatchCall> call(new WatchCall(PeriodOf(request), executor));
  call->self_ = call;
  *call->pulse_.mutable_description() = std::move(description);
  call->SendPulse();
  return call.get();
}

void WatchCall::SendPulse() {
  const PulseState state = executor_.pulse();
  pulse_.set_epoch(state.epoch);
  pulse_.set_progress(state.progress);
  pulse_.set_is_busy(state.is_busy);
  pulse_.set_waits_for_peers(state.waits_for_peers);
  pulse_.set_tells_pieces(state.tells_pieces);
  StartWrite(&pulse_);
}

void WatchCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  if (!ok || cancelled_) return FinishLocked();
  pulse_.clear_description();
  alarms_self_ = self_;
  alarm_.Set(std::chrono::system_clock::now() + period_, [this](bool) { OnAlarm(); });
}

// Also when the alarm was cancelled.
void WatchCall::OnAlarm() {
  const std::shared_ptr<WatchCall> call = [this] {
    std::lock_guard lock(mutex_);
    return std::move(alarms_self_);
  }();
  std::lock_guard lock(mutex_);
  if (cancelled_) return FinishLocked();
  SendPulse();
}

void WatchCall::OnCancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (alarms_self_ != nullptr) alarm_.Cancel();
}

void WatchCall::FinishLocked() {
  if (std::exchange(finished_, true)) return;
  Finish(grpc::Status::CANCELLED);
}

}  // namespace longhand::service
