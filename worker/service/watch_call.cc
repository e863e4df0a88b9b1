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
                            const Executor& executor,
                            SteadyTimer& timer) {
  const std::shared_ptr<WatchCall> call(new WatchCall(PeriodOf(request), executor, timer));
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
  is_waiting_ = true;
  timer_.After(period_, [call = self_] { call->OnTime(); });
}

void WatchCall::OnTime() {
  std::lock_guard lock(mutex_);
  is_waiting_ = false;
  if (!cancelled_) SendPulse();
}

void WatchCall::OnCancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (is_waiting_) FinishLocked();
}

void WatchCall::FinishLocked() {
  if (std::exchange(finished_, true)) return;
  Finish(grpc::Status::CANCELLED);
}

}  // namespace longhand::service
