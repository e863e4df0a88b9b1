// StreamSink: what the engine says of a request, on its way to the request's stream. Engine thread.
#pragma once

#include <memory>
#include <string>

#include "coordinator/api/event_stream.h"
#include "coordinator/api/event_wire.h"
#include "coordinator/api/recorded_stream.h"
#include "coordinator/engine/delivery_gate.h"
#include "coordinator/engine/token_sink.h"
#include "coordinator/journal/journal.h"

namespace longhand::api {

class StreamSink final : public engine::TokenSink {
 public:
  using Parts = RecordedStream::Parts;
  // `record` is what the journal keeps of the request, empty if it has it already.
  StreamSink(Parts parts,
             std::shared_ptr<EventStream> stream,
             EventContext context,
             std::string record);

  void OnAccepted() override { out_.Accept(); }
  void OnEvent(engine::TokenEvent event) override;
  void OnEnd(const Status& status) override { out_.End(status); }

 private:
  RecordedStream out_;
  const EventContext context_;
};

// Holds the engine back while the journal lags behind or cannot be written. Any thread.
class JournalGate final : public engine::DeliveryGate {
 public:
  // `journal` may be null.
  explicit JournalGate(const journal::Journal* journal) : journal_(journal) {}

  Status CheckAdmission() const override;
  bool IsFull() const override;

 private:
  const journal::Journal* journal_;
};

}  // namespace longhand::api
