// GenerateCall: one Generate stream, from the request's arrival to its last event.
//
// Three threads touch it: gRPC's (writes done, cancelled, over), an input thread (prepared or
// refused) and the engine's (events). They meet in one mutex; nothing is done under it but
// queueing. gRPC may be done with the stream before the engine is done with the request, so the two
// sides share ownership.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "common/status.h"
#include "coordinator/api/event_wire.h"
#include "coordinator/engine/token_sink.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::api {

class GenerateCall final : private grpc::ServerWriteReactor<v1::GenerateEvent> {
 public:
  // `on_cancel` is called once, on a gRPC thread, when the client went away or its deadline passed
  // before the end.
  static std::shared_ptr<GenerateCall> Create(std::function<void()> on_cancel);
  // What the service hands to gRPC; valid until gRPC's OnDone.
  grpc::ServerWriteReactor<v1::GenerateEvent>* reactor() { return this; }

  // The request was refused, or ended without the engine.
  void Refuse(const Status& status) { End(status); }
  // Makes the sink through which the engine delivers.
  std::unique_ptr<engine::TokenSink> MakeSink(EventContext context);
  bool cancelled() const;

 private:
  class Sink;

  explicit GenerateCall(std::function<void()> on_cancel) : on_cancel_(std::move(on_cancel)) {}

  void Push(v1::GenerateEvent event);
  void End(const Status& status);
  void WriteNext();  // with the mutex held

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  std::function<void()> on_cancel_;
  std::shared_ptr<GenerateCall> self_;  // gRPC's reference
  mutable std::mutex mutex_;
  std::deque<v1::GenerateEvent>
      events_;  // front: being written. At most n * max_tokens + 1, so it is bounded
  std::optional<Status> end_;
  bool finished_ = false;   // Finish was called
  bool cancelled_ = false;  // nobody reads any more
};

}  // namespace longhand::api
