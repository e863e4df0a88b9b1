#include "coordinator/api/stream_call.h"

#include <utility>

#include "proto/grpc_status.h"

namespace longhand::api {

std::shared_ptr<StreamCall> StreamCall::Create(grpc::CallbackServerContext& context) {
  std::shared_ptr<StreamCall> call(new StreamCall(context));
  call->self_ = call;
  return call;
}

void StreamCall::Refuse(const Status& status) {
  std::lock_guard lock(mutex_);
  FinishWith(status);
}

void StreamCall::Follow(std::shared_ptr<EventStream> stream, int64_t from) {
  stream->Join(std::shared_ptr<Reader>(self_, this));
  bool gone = false;
  {
    std::lock_guard lock(mutex_);
    stream_ = stream;
    next_seq_ = from;
    gone = gone_;
    Advance();
  }
  if (gone) stream->Leave(*this);
}

bool StreamCall::gone() const {
  std::lock_guard lock(mutex_);
  return gone_;
}

void StreamCall::OnMore() {
  std::lock_guard lock(mutex_);
  Advance();
}

void StreamCall::Advance() {
  if (stream_ == nullptr || writing_ || finished_) return;
  if (gone_) {
    finished_ = true;
    return Finish(grpc::Status::CANCELLED);
  }
  const EventStream::Next next = stream_->Look(next_seq_);
  if (next.event != nullptr) {
    ++next_seq_;
    writing_ = true;
    StartWrite(next.event);
  } else if (next.end.has_value()) {
    FinishWith(*next.end);
  }
}

void StreamCall::FinishWith(const Status& status) {
  finished_ = true;
  AddRetryAfter(status, context_);
  Finish(ToGrpc(status));
}

void StreamCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  gone_ |= !ok;
  Advance();
}

void StreamCall::OnCancel() {
  std::shared_ptr<EventStream> left;
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
    left = stream_;
    Advance();
  }
  if (left != nullptr) left->Leave(*this);
}

void StreamCall::OnDone() {
  const std::shared_ptr<StreamCall> self = std::move(self_);
  if (stream_ != nullptr) stream_->Leave(*this);
}

}  // namespace longhand::api
