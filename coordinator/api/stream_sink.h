// StreamSink: what the engine says of a request goes to the journal, and from there, once it is on
// disk, to the request's stream. Engine thread; publishing happens on the journal's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "coordinator/api/event_stream.h"
#include "coordinator/api/event_wire.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/engine/delivery_gate.h"
#include "coordinator/engine/token_sink.h"
#include "coordinator/journal/journal.h"

namespace longhand::api {

// Of a request without a journal, events go to the stream at once.
class StreamSink final : public engine::TokenSink {
 public:
  struct Parts {
    StreamTable& streams;
    journal::Journal* journal = nullptr;  // none: nothing is kept
  };
  // `record` is what the journal keeps of the request, empty if it has it already.
  StreamSink(Parts parts,
             std::shared_ptr<EventStream> stream,
             EventContext context,
             std::string record);

  void OnAccepted() override;
  void OnEvent(engine::TokenEvent event) override;
  void OnEnd(const Status& status) override;

 private:
  // Runs `let_out` when the entry is on disk.
  void Write(journal::Entry entry, std::function<void()> let_out);

  const Parts parts_;
  const std::shared_ptr<EventStream> stream_;  // shared with what waits in the journal
  const EventContext context_;
  std::string record_;
  bool is_recorded_;
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
