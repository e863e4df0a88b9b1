#include "worker/service/configure_call.h"

#include <utility>

#include "proto/grpc_status.h"

namespace longhand::service {

grpc::ServerWriteReactor<worker::v1::ConfigureProgress>* ConfigureCall::Start(
    const worker::v1::ConfigureRequest& request, Executor& executor) {
  const std::shared_ptr<ConfigureCall> call(new ConfigureCall(executor));
  call->self_ = call;
  Result<RankSetup> setup = RankSetup::FromWire(request);
  if (!setup.ok()) {
    call->End(setup.status());
    return call.get();
  }
  const int64_t epoch = setup->epoch;
  const Status accepted = executor.Configure(
      std::move(setup).value(),
      {.on_progress = [call](const SetupProgress& progress) { call->Report(progress); },
       .on_done = [call](const Status& status) { call->End(status); }});
  // gRPC cancels nothing before the call is returned.
  if (accepted.ok()) {
    call->epoch_ = epoch;
  } else {
    call->End(accepted);
  }
  return call.get();
}

void ConfigureCall::Report(const SetupProgress& progress) {
  std::lock_guard lock(mutex_);
  next_.emplace();
  next_->set_phase(progress.phase);
  next_->set_bytes_done(progress.bytes_done);
  next_->set_bytes_total(progress.bytes_total);
  next_->set_ready(progress.ready);
  next_->set_weight_bytes(progress.weight_bytes);
  next_->set_kv_cache_bytes(progress.kv_cache_bytes);
  WriteNextLocked();
}

void ConfigureCall::End(const Status& status) {
  std::lock_guard lock(mutex_);
  end_ = status;
  WriteNextLocked();
}

void ConfigureCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) next_.reset();  // Nobody listens any more; OnCancel comes too.
  WriteNextLocked();
}

// What was reported last goes out before the end does.
void ConfigureCall::WriteNextLocked() {
  if (writing_ || finished_) return;
  if (next_) {
    in_flight_ = std::move(*next_);
    next_.reset();
    writing_ = true;
    StartWrite(&in_flight_);
  } else if (end_) {
    finished_ = true;
    Finish(ToGrpc(*end_));
  }
}

void ConfigureCall::OnCancel() {
  if (epoch_ != 0) executor_.Close(epoch_);
}

}  // namespace longhand::service
