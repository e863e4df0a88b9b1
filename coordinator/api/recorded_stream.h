// RecordedStream: the producer's end of a stream. What it is given goes to the journal, and from
// there, once it is on disk, to the stream; without a journal it goes to the stream at once.
//
// One thread at a time. Publishing happens on the journal's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/journal/journal.h"

namespace longhand::api {

class RecordedStream {
 public:
  struct Parts {
    StreamTable& streams;
    journal::Journal* journal = nullptr;  // none: nothing is kept
  };
  // `record` is what the journal keeps of the request, empty if it has it already.
  RecordedStream(Parts parts, std::shared_ptr<EventStream> stream, std::string record);

  // The request is taken: before everything else, unless the journal has it.
  void Accept();
  // `whole` is kept; what is `wanted` of it is seen.
  void Publish(v1::GenerateEvent whole, const v1::Return& wanted);
  // Once. The end of a request that was not taken is a refusal, which is not kept.
  void End(const Status& status);

 private:
  // Runs `let_out` when the entry is on disk.
  void Write(journal::Entry entry, std::function<void()> let_out);
  const std::string& request_id() const { return stream_->identity().request_id; }

  const Parts parts_;
  const std::shared_ptr<EventStream> stream_;  // shared with what waits in the journal
  std::string record_;
  bool is_recorded_;
};

}  // namespace longhand::api
