// StepStream: the bidirectional stream of one rank. Plans out, results in.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "common/status.h"
#include "common/step_plan.h"
#include "longhand/worker/v1/worker.grpc.pb.h"

namespace longhand::cluster {

// Thread-safe. Callbacks come on gRPC's threads, one at a time, and must not wait.
class StepStream final : private grpc::ClientBidiReactor<worker::v1::ExecuteStepRequest,
                                                         worker::v1::ExecuteStepResponse> {
 public:
  struct Callbacks {
    std::function<void(StepResult)> on_result;
    // Once, last; also after Cancel(). The stream holds its channel no more.
    std::function<void(const Status&)> on_closed;
  };

  // Opens the stream. The object lives until on_closed comes; the caller may keep a reference as
  // long as the worker's link lives.
  static std::shared_ptr<StepStream> Open(worker::v1::Worker::Stub& stub, Callbacks callbacks);

  // Queued behind earlier plans. The engine's pipeline depth bounds the queue.
  void Send(std::shared_ptr<const worker::v1::ExecuteStepRequest> plan);
  // Ends the stream; the worker aborts what it runs.
  void Cancel() { context_.TryCancel(); }

 private:
  explicit StepStream(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  void OnWriteDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  Callbacks callbacks_;
  grpc::ClientContext context_;
  worker::v1::ExecuteStepResponse response_;
  std::shared_ptr<StepStream> self_;  // gRPC's reference: held from Open to OnDone
  std::mutex mutex_;
  std::deque<std::shared_ptr<const worker::v1::ExecuteStepRequest>> plans_;  // front: being written
  bool closed_ = false;
};

}  // namespace longhand::cluster
