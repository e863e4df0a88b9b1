#include "coordinator/api/stream_sink.h"

#include <utility>

namespace longhand::api {
namespace {

// Some steps of a full batch: the disk is allowed a hiccup, and what it owes stays small.
constexpr size_t kMaxBacklog = 1024;

}  // namespace

StreamSink::StreamSink(Parts parts,
                       std::shared_ptr<EventStream> stream,
                       EventContext context,
                       std::string record)
    : out_(parts, std::move(stream), std::move(record)), context_(std::move(context)) {}

void StreamSink::OnEvent(engine::TokenEvent event) {
  out_.Publish(ToWire(event, context_), context_.wanted);
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
