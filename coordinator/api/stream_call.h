// StreamCall: one client that follows a stream, from the call's arrival to its last event.
//
// gRPC's threads (written, cancelled, over), an input thread (which finds or begins the stream) and
// the stream's producer meet in one mutex. The stream keeps the events; the call has only its place
// in it, so a slow reader costs nothing.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <mutex>

#include "common/status.h"
#include "coordinator/api/event_stream.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::api {

class StreamCall final : private grpc::ServerWriteReactor<v1::GenerateEvent>,
                         private EventStream::Reader {
 public:
  // `context` is the call's.
  static std::shared_ptr<StreamCall> Create(grpc::CallbackServerContext& context);
  // What the service hands to gRPC; valid until gRPC's OnDone.
  grpc::ServerWriteReactor<v1::GenerateEvent>* reactor() { return this; }

  // One of the two is called, once; the call, and with it the client's message, is not over before.
  void Refuse(const Status& status);
  void Follow(std::shared_ptr<EventStream> stream, int64_t from);

  // The client has gone away.
  bool gone() const;

 private:
  explicit StreamCall(grpc::CallbackServerContext& context) : context_(context) {}

  void OnMore() override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void Advance();                         // with the mutex held
  void FinishWith(const Status& status);  // the same

  grpc::CallbackServerContext& context_;  // valid until gRPC's OnDone
  std::shared_ptr<StreamCall> self_;      // gRPC's reference
  mutable std::mutex mutex_;
  std::shared_ptr<EventStream> stream_;  // null before Follow
  int64_t next_seq_ = 1;
  bool writing_ = false;
  bool gone_ = false;
  bool finished_ = false;  // Finish was called
};

}  // namespace longhand::api
