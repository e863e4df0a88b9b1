#include "worker/service/step_call.h"

#include <utility>

#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"

namespace longhand::service {

StepCall* StepCall::Start(Executor& executor) {
  const std::shared_ptr<StepCall> call(new StepCall(executor));
  call->self_ = call;
  call->StartRead(&call->request_);
  return call.get();
}

void StepCall::OnReadDone(bool ok) {
  if (!ok) return End(Cancelled("the coordinator ended the stream"));
  const Status taken = TakePlan();
  if (!taken.ok()) return End(taken);
  std::lock_guard lock(mutex_);
  if (!end_) StartRead(&request_);
}

Status StepCall::TakePlan() {
  LONGHAND_ASSIGN_OR_RETURN(StepPlan plan, FromWire(request_));
  LONGHAND_RETURN_IF_ERROR(OpenEpoch(plan.epoch));
  return executor_.Execute(std::move(plan),
                           [call = self_](const StepResult& result) { call->Send(result); });
}

// The first plan opens its epoch.
Status StepCall::OpenEpoch(int64_t epoch) {
  {
    std::lock_guard lock(mutex_);
    if (epoch_ == epoch) return OkStatus();
    if (epoch_ != 0) {
      return FailedPrecondition("a plan of epoch ", epoch, " came on the stream of epoch ", epoch_);
    }
  }
  // Weak: the executor keeps this as long as the epoch lasts.
  LONGHAND_RETURN_IF_ERROR(
      executor_.Open(epoch, [weak = std::weak_ptr<StepCall>(self_)](const Status& why) {
        if (const auto call = weak.lock()) call->End(why);
      }));
  std::lock_guard lock(mutex_);
  epoch_ = epoch;
  return OkStatus();
}

void StepCall::Send(const StepResult& result) {
  std::lock_guard lock(mutex_);
  if (end_) return;
  ToWire(result, &results_.emplace_back());
  WriteNextLocked();
}

void StepCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  results_.pop_front();
  if (!ok) results_.clear();  // Nobody listens any more; OnCancel comes too.
  WriteNextLocked();
}

// Whatever the reason, the epoch is over: a coordinator that is still there forms the group again.
void StepCall::End(const Status& status) {
  int64_t epoch = 0;
  {
    std::lock_guard lock(mutex_);
    if (end_) return;
    end_ = status;
    epoch = epoch_;
    if (!writing_) results_.clear();
    WriteNextLocked();
  }
  if (epoch != 0) executor_.Close(epoch);
}

void StepCall::WriteNextLocked() {
  if (writing_ || finished_) return;
  if (!end_ && !results_.empty()) {
    writing_ = true;
    StartWrite(&results_.front());
  } else if (end_) {
    finished_ = true;
    Finish(ToGrpc(*end_));
  }
}

}  // namespace longhand::service
