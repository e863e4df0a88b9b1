#include "coordinator/cluster/step_stream.h"

#include <utility>

#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"

namespace longhand::cluster {

std::shared_ptr<StepStream> StepStream::Open(worker::v1::Worker::Stub& stub, Callbacks callbacks) {
  std::shared_ptr<StepStream> stream(new StepStream(std::move(callbacks)));
  stream->self_ = stream;
  stub.async()->ExecuteSteps(&stream->context_, stream.get());
  stream->AddHold();  // Writes start from outside of the callbacks.
  stream->StartRead(&stream->response_);
  stream->StartCall();
  return stream;
}

void StepStream::Send(std::shared_ptr<const worker::v1::ExecuteStepRequest> plan) {
  std::lock_guard lock(mutex_);
  if (closed_) return;
  plans_.push_back(std::move(plan));
  if (plans_.size() == 1) StartWrite(plans_.front().get());
}

void StepStream::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  if (!plans_.empty()) plans_.pop_front();
  if (ok && !closed_ && !plans_.empty()) StartWrite(plans_.front().get());
}

void StepStream::OnReadDone(bool ok) {
  if (!ok) {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    RemoveHold();
    return;
  }
  callbacks_.on_result(FromWire(response_));
  StartRead(&response_);
}

void StepStream::OnDone(const grpc::Status& status) {
  const auto on_closed = std::move(callbacks_.on_closed);
  self_.reset();
  on_closed(FromGrpc(status));
}

}  // namespace longhand::cluster
