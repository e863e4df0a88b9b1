// RequestRestorer: requests that an earlier coordinator did not bring to their end go on.
#pragma once

#include <memory>
#include <vector>

#include "common/clock.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/stored_stream.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/engine/engine.h"
#include "coordinator/journal/journal.h"

namespace longhand::api {

class RequestRestorer {
 public:
  struct Parts {
    const RequestPreparer& preparer;
    engine::Engine& engine;
    StreamTable& streams;
    journal::Journal* journal = nullptr;
    const Clock& clock;
    Metrics& metrics;
  };
  explicit RequestRestorer(Parts parts) : parts_(parts) {}

  // Begins their streams with what is stored, so that a client can follow them. Before the server
  // listens.
  void BeginStreams(const std::vector<journal::StoredRequest>& unfinished);
  // Prepares each and gives it to the engine, oldest first. What cannot go on ends, with the
  // reason. Input thread.
  void Restore();

 private:
  struct Unfinished {
    std::shared_ptr<EventStream> stream;
    StoredStream stored;
    Status damage;  // why it cannot go on
  };

  Status Restore(const Unfinished& request);
  std::unique_ptr<engine::TokenSink> MakeSink(const Unfinished& request,
                                              std::vector<int32_t> prompt_token_ids) const;

  const Parts parts_;
  std::vector<Unfinished> requests_;
};

}  // namespace longhand::api
