#include "coordinator/api/generate_call.h"

#include <utility>

#include "proto/grpc_status.h"

namespace longhand::api {

// The engine's side. Engine thread.
class GenerateCall::Sink final : public engine::TokenSink {
 public:
  Sink(std::shared_ptr<GenerateCall> call, EventContext context)
      : call_(std::move(call)), context_(std::move(context)) {}
  ~Sink() override { call_->End(Unavailable("the coordinator is stopping")); }

  void OnAccepted() override {}
  void OnEvent(engine::TokenEvent event) override { call_->Push(ToWire(event, context_)); }
  void OnEnd(const Status& status) override { call_->End(status); }

 private:
  std::shared_ptr<GenerateCall> call_;  // shared with gRPC: either side may end first
  const EventContext context_;
};

std::shared_ptr<GenerateCall> GenerateCall::Create(std::function<void()> on_cancel) {
  std::shared_ptr<GenerateCall> call(new GenerateCall(std::move(on_cancel)));
  call->self_ = call;
  return call;
}

std::unique_ptr<engine::TokenSink> GenerateCall::MakeSink(EventContext context) {
  LONGHAND_CHECK(self_ != nullptr) << "the stream is over";
  return std::make_unique<Sink>(self_, std::move(context));
}

bool GenerateCall::cancelled() const {
  std::lock_guard lock(mutex_);
  return cancelled_;
}

void GenerateCall::Push(v1::GenerateEvent event) {
  std::lock_guard lock(mutex_);
  if (cancelled_ || end_) return;
  events_.push_back(std::move(event));
  if (events_.size() == 1) WriteNext();
}

void GenerateCall::End(const Status& status) {
  std::lock_guard lock(mutex_);
  if (end_) return;
  end_ = status;
  if (events_.empty()) WriteNext();
}

void GenerateCall::WriteNext() {
  if (!events_.empty()) {
    StartWrite(&events_.front());
  } else if (end_ && !std::exchange(finished_, true)) {
    Finish(ToGrpc(*end_));
  }
}

void GenerateCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  events_.pop_front();
  if (!ok) {
    cancelled_ = true;
    events_.clear();
  }
  WriteNext();
}

void GenerateCall::OnCancel() {
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (finished_) return;
  }
  on_cancel_();
}

void GenerateCall::OnDone() { self_.reset(); }

}  // namespace longhand::api
