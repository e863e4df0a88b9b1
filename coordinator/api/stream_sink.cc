#include "coordinator/api/stream_sink.h"

#include <utility>

#include "longhand/journal/v1/record.pb.h"

namespace longhand::api {
namespace {

// Some steps of a full batch: the disk is allowed a hiccup, and what it owes stays small.
constexpr size_t kMaxBacklog = 1024;

std::string EndPayload(const Status& status) {
  longhand::journal::v1::EndRecord end;
  end.set_code(static_cast<int32_t>(status.code()));
  end.set_message(status.message());
  return end.SerializeAsString();
}

}  // namespace

StreamSink::StreamSink(Parts parts,
                       std::shared_ptr<EventStream> stream,
                       EventContext context,
                       std::string record)
    : parts_(parts),
      stream_(std::move(stream)),
      context_(std::move(context)),
      record_(std::move(record)),
      is_recorded_(record_.empty()) {}

void StreamSink::OnAccepted() {
  is_recorded_ = true;
  Write(journal::RequestEntry{context_.request_id, std::exchange(record_, {})},
        [stream = stream_] { stream->Accept(); });
}

void StreamSink::OnEvent(engine::TokenEvent event) {
  v1::GenerateEvent whole = ToWire(event, context_);
  journal::EventEntry entry{.request_id = context_.request_id, .seq = event.seq};
  if (parts_.journal != nullptr) entry.payload = whole.SerializeAsString();
  Write(std::move(entry),
        [stream = stream_, visible = VisibleOf(std::move(whole), context_.wanted)]() mutable {
          stream->Publish(std::move(visible));
        });
}

void StreamSink::OnEnd(const Status& status) {
  const auto let_out = [&streams = parts_.streams, stream = stream_, status] {
    streams.Remove(*stream);
    stream->End(status);
  };
  if (!is_recorded_) return let_out();  // A refusal is nothing to keep.
  Write(journal::EndEntry{context_.request_id, EndPayload(status)}, let_out);
}

void StreamSink::Write(journal::Entry entry, std::function<void()> let_out) {
  if (parts_.journal != nullptr) {
    parts_.journal->Append(std::move(entry), std::move(let_out));
  } else if (let_out) {
    let_out();
  }
}

Status JournalGate::CheckAdmission() const {
  if (journal_ == nullptr) return OkStatus();
  const Status health = journal_->health();
  if (health.ok()) return OkStatus();
  return Unavailable("requests cannot be kept now: ", health.message());
}

bool JournalGate::IsFull() const {
  return journal_ != nullptr && journal_->backlog() >= kMaxBacklog;
}

}  // namespace longhand::api
