#include "coordinator/api/recorded_stream.h"

#include <utility>

#include "coordinator/api/event_wire.h"
#include "longhand/journal/v1/record.pb.h"

namespace longhand::api {
namespace {

std::string EndPayload(const Status& status) {
  longhand::journal::v1::EndRecord end;
  end.set_code(static_cast<int32_t>(status.code()));
  end.set_message(status.message());
  return end.SerializeAsString();
}

}  // namespace

RecordedStream::RecordedStream(Parts parts, std::shared_ptr<EventStream> stream, std::string record)
    : parts_(parts),
      stream_(std::move(stream)),
      record_(std::move(record)),
      is_recorded_(record_.empty()) {}

void RecordedStream::Accept() {
  is_recorded_ = true;
  Write(journal::RequestEntry{request_id(), std::exchange(record_, {})},
        [stream = stream_] { stream->Accept(); });
}

void RecordedStream::Publish(v1::GenerateEvent whole, const v1::Return& wanted) {
  journal::EventEntry entry{.request_id = request_id(), .seq = whole.seq()};
  if (parts_.journal != nullptr) entry.payload = whole.SerializeAsString();
  Write(std::move(entry),
        [stream = stream_, visible = VisibleOf(std::move(whole), wanted)]() mutable {
          stream->Publish(std::move(visible));
        });
}

void RecordedStream::End(const Status& status) {
  const auto let_out = [&streams = parts_.streams, stream = stream_, status] {
    streams.Remove(*stream);
    stream->End(status);
  };
  if (!is_recorded_) return let_out();
  Write(journal::EndEntry{request_id(), EndPayload(status)}, let_out);
}

void RecordedStream::Write(journal::Entry entry, std::function<void()> let_out) {
  if (parts_.journal != nullptr) {
    parts_.journal->Append(std::move(entry), std::move(let_out));
  } else {
    let_out();
  }
}

}  // namespace longhand::api
