// StepCall: one ExecuteSteps RPC. Plans go to the executor as they arrive; results go back in
// order.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "common/status.h"
#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/service/executor.h"

namespace longhand::service {

class StepCall final : public grpc::ServerBidiReactor<worker::v1::ExecuteStepRequest,
                                                      worker::v1::ExecuteStepResponse> {
 public:
  // gRPC owns the call: it lives until OnDone, and as long as the executor holds a plan of it.
  static StepCall* Start(Executor& executor);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(Cancelled("the coordinator ended the stream")); }
  void OnDone() override { self_.reset(); }

 private:
  explicit StepCall(Executor& executor) : executor_(executor) {}

  Status TakePlan();
  Status OpenEpoch(int64_t epoch);
  void Send(const StepResult& result);
  void End(const Status& status);
  void WriteNextLocked();

  Executor& executor_;
  std::shared_ptr<StepCall> self_;  // gRPC's reference
  worker::v1::ExecuteStepRequest request_;

  std::mutex mutex_;
  int64_t epoch_ = 0;  // 0: no plan has come
  bool writing_ = false;
  std::deque<worker::v1::ExecuteStepResponse> results_;  // front: being written when writing_
  std::optional<Status> end_;
  bool finished_ = false;
};

}  // namespace longhand::service
