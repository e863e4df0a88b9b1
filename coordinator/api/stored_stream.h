// StoredStream: what the journal keeps of a request, in the API's own words.
#pragma once

#include <optional>
#include <vector>

#include "common/status.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/journal/entry.h"
#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

struct StoredStream {
  journal::v1::RequestRecord record;
  std::vector<v1::GenerateEvent> events;  // whole
  std::optional<Status> end;              // none: it has not ended

  // kDataLoss when a payload is not what it should be.
  static Result<StoredStream> Parse(const journal::StoredRequest& stored);

  bool is_document() const { return record.has_document(); }
  EventStream::Identity identity() const {
    return {is_document() ? record.document().request_id() : record.request().request_id(),
            record.sent_digest(), record.form(), record.owner()};
  }
  v1::OnDisconnect on_disconnect() const {
    return is_document() ? record.document().on_disconnect() : record.request().on_disconnect();
  }
  // Publishes to a new stream what its client may see, and the end if there is one.
  void Fill(EventStream* stream) const;
};

}  // namespace longhand::api
