#include "coordinator/api/stored_stream.h"

#include "coordinator/api/event_wire.h"

namespace longhand::api {
namespace {

template <typename Message>
Status ParsePayload(const std::string& payload, const std::string& request_id, Message* message) {
  if (message->ParseFromString(payload)) return OkStatus();
  return Status(StatusCode::kDataLoss,
                "a record of request '" + request_id + "' is no " + message->GetTypeName());
}

}  // namespace

Result<StoredStream> StoredStream::Parse(const journal::StoredRequest& stored) {
  StoredStream out;
  LONGHAND_RETURN_IF_ERROR(ParsePayload(stored.payload, stored.request_id, &out.record));
  for (const journal::StoredEvent& event : stored.events) {
    LONGHAND_RETURN_IF_ERROR(
        ParsePayload(event.payload, stored.request_id, &out.events.emplace_back()));
  }
  if (stored.end.has_value()) {
    journal::v1::EndRecord end;
    LONGHAND_RETURN_IF_ERROR(ParsePayload(*stored.end, stored.request_id, &end));
    out.end = Status(static_cast<StatusCode>(end.code()), end.message());
  }
  return out;
}

void StoredStream::Fill(EventStream* stream) const {
  stream->Accept();
  for (const v1::GenerateEvent& event : events)
    stream->Publish(VisibleOf(event, record.request().return_()));
  if (end.has_value()) stream->End(*end);
}

}  // namespace longhand::api
