#include "coordinator/documents/documents.h"

#include <utility>

#include "coordinator/api/request_record.h"
#include "coordinator/documents/document_request.h"

namespace longhand::documents {
namespace {

using api::EventStream;
using api::RequestIntake;

// A document takes minutes; when one ends cannot be said.
constexpr int64_t kRetryAfterSeconds = 30;

// Over gRPC and HTTP a document looks the same.
journal::v1::AnswerForm FormOf(const v1::WriteDocumentRequest& wire) {
  journal::v1::AnswerForm form;
  form.set_model(wire.model());
  form.set_kind(journal::v1::AnswerForm::KIND_DOCUMENT);
  return form;
}

Counter& Total(Metrics& metrics, const char* outcome) {
  return metrics.GetCounter("longhand_documents_total", {{"outcome", outcome}});
}

}  // namespace

Documents::Documents(Parts parts)
    : parts_(std::move(parts)),
      written_(Total(parts_.metrics, "written")),
      cancelled_(Total(parts_.metrics, "cancelled")),
      failed_(Total(parts_.metrics, "failed")),
      refused_(Total(parts_.metrics, "refused")),
      num_running_(parts_.metrics.GetGauge("longhand_documents_running")),
      section_progress_(parts_.metrics.GetGauge("longhand_section_progress")) {}

Result<std::shared_ptr<EventStream>> Documents::FollowOrBegin(const v1::WriteDocumentRequest& wire,
                                                              RequestIntake::Call call) {
  call.trace.operation = "write_document";
  return parts_.intake.FollowOrBegin(wire, FormOf(wire), call,
                                     /*may_be_kept=*/!wire.request_id().empty(),
                                     [&](const auto& stream) {
                                       const Status status = Begin(stream, wire, call);
                                       if (!status.ok()) refused_.Increment();
                                       return status;
                                     });
}

Status Documents::Begin(const std::shared_ptr<EventStream>& stream,
                        const v1::WriteDocumentRequest& wire,
                        const RequestIntake::Call& call) {
  LONGHAND_ASSIGN_OR_RETURN(v1::WriteDocumentRequest request,
                            ResolveDocument(wire, call.request_id, parts_.intake.preparer()));
  LONGHAND_ASSIGN_OR_RETURN(api::AdapterTable::Held adapter,
                            parts_.intake.preparer().FindModel(request.model()));
  std::string record;
  if (parts_.out.journal != nullptr) {
    journal::v1::RequestRecord kept =
        api::MakeRecord(stream->identity(), parts_.checkpoint_digest, adapter.get(), call.trace);
    *kept.mutable_document() = request;
    record = kept.SerializeAsString();
    LONGHAND_RETURN_IF_ERROR(parts_.intake.CheckRoom(record));
  }
  const auto num_bytes = static_cast<int64_t>(request.ByteSizeLong());
  const std::shared_ptr<DocumentWriter> writer =
      MakeWriter(stream, std::move(request), std::move(adapter), call.trace,
                 api::RecordedStream(parts_.out, stream, std::move(record)), /*is_taken=*/false);
  LONGHAND_RETURN_IF_ERROR(Add(*stream, {writer, num_bytes}, /*is_bounded=*/true));
  Begin(*stream, writer, wire.on_disconnect());
  return OkStatus();
}

void Documents::Restore(const std::shared_ptr<EventStream>& stream,
                        const journal::v1::RequestRecord& record,
                        api::AdapterTable::Held adapter) {
  api::RecordedStream out(parts_.out, stream, /*record=*/"");
  const int64_t num_events = stream->num_events();
  // All of it was published, but for the end.
  if (num_events > 0 &&
      stream->Look(num_events).event->finish_reason() != v1::FINISH_REASON_UNSPECIFIED)
    return out.End(OkStatus());
  if (const Status status = CheckPlan(record.document()); !status.ok()) return out.End(status);
  const auto num_bytes = static_cast<int64_t>(record.document().ByteSizeLong());
  const std::shared_ptr<DocumentWriter> writer =
      MakeWriter(stream, record.document(), std::move(adapter), api::FromWire(record.trace()),
                 std::move(out), /*is_taken=*/true);
  const Status added = Add(*stream, {writer, num_bytes}, /*is_bounded=*/false);
  LONGHAND_CHECK(added.ok()) << added;
  Begin(*stream, writer, record.document().on_disconnect());
}

std::shared_ptr<DocumentWriter> Documents::MakeWriter(const std::shared_ptr<EventStream>& stream,
                                                      v1::WriteDocumentRequest request,
                                                      api::AdapterTable::Held adapter,
                                                      const Trace& trace,
                                                      api::RecordedStream out,
                                                      bool is_taken) {
  DocumentWriter::Parts parts{
      .begin_call =
          [this, adapter = std::move(adapter), trace](const v1::GenerateRequest& call,
                                                      const std::string& owner) {
            return parts_.intake.FollowOrBegin(call, /*form=*/{},
                                               {.request_id = call.request_id(),
                                                .trace = ChildOf(trace),
                                                .owner = owner,
                                                .is_part = true,
                                                .adapter = adapter});
          },
      .cancel_call =
          [this](const std::string& request_id, const std::string& owner) {
            (void)parts_.intake.Cancel(request_id, owner, [](const Status&) {});
          },
      .run_on_pool =
          [this](std::function<void()> job) { return parts_.pool.Submit(std::move(job)); },
      .clock = parts_.clock,
      .on_over =
          [this, trace, model = request.model(), key = stream.get()](DocumentSummary summary) {
            summary.trace = trace;
            summary.model = model;
            OnOver(key, summary);
          }};
  return std::make_shared<DocumentWriter>(parts, DocumentScript(std::move(request), counter_),
                                          stream, std::move(out), is_taken);
}

void Documents::Begin(EventStream& stream,
                      const std::shared_ptr<DocumentWriter>& writer,
                      v1::OnDisconnect on_disconnect) {
  const auto cancel = [writer = std::weak_ptr(writer)] {
    if (const auto alive = writer.lock()) alive->Cancel(Cancelled("the request was cancelled"));
  };
  stream.SetCancel([cancel] {
    cancel();
    return true;
  });
  if (on_disconnect != v1::ON_DISCONNECT_CONTINUE) stream.SetAbandon(cancel);
  writer->Begin();
}

Status Documents::Add(const EventStream& stream, Running running, bool is_bounded) {
  std::lock_guard lock(mutex_);
  if (is_bounded && static_cast<int64_t>(running_.size()) >= parts_.max_documents) {
    return ResourceExhausted(running_.size(), " documents are being written; at most ",
                             parts_.max_documents, " may be at once")
        .WithRetryAdvice(kRetryAfterSeconds);
  }
  if (is_bounded && !running_.empty() && num_bytes_ + running.num_bytes > parts_.max_bytes) {
    return ResourceExhausted("the requests of the documents that are being written have ",
                             num_bytes_, " bytes; with this one's ", running.num_bytes,
                             " they would be over ", parts_.max_bytes)
        .WithRetryAdvice(kRetryAfterSeconds);
  }
  num_bytes_ += running.num_bytes;
  running_[&stream] = std::move(running);
  return OkStatus();
}

Counter& Documents::CounterOf(const DocumentSummary& summary) const {
  if (!summary.was_taken) return refused_;
  if (summary.status.ok()) return written_;
  return summary.status.code() == StatusCode::kCancelled ? cancelled_ : failed_;
}

// Under the writer's mutex.
void Documents::OnOver(const EventStream* stream, const DocumentSummary& summary) {
  CounterOf(summary).Increment();
  if (parts_.on_end && summary.was_taken) parts_.on_end(summary);
  std::vector<std::function<void()>> waiters;
  std::shared_ptr<DocumentWriter> writer;  // not destroyed under the mutex
  {
    std::lock_guard lock(mutex_);
    const auto found = running_.find(stream);
    if (found == running_.end()) return;
    num_bytes_ -= found->second.num_bytes;
    writer = std::move(found->second.writer);
    running_.erase(found);
    if (running_.empty()) waiters.swap(idle_waiters_);
  }
  for (const auto& done : waiters) done();
}

void Documents::LookAround(TimePoint now) {
  const std::vector<std::shared_ptr<DocumentWriter>> all = All();
  int64_t written = 0, planned = 0;
  for (const auto& writer : all) {
    writer->LookAround(now);
    const DocumentWriter::Progress progress = writer->progress();
    written += std::min(progress.num_words_written, progress.num_words_planned);
    planned += progress.num_words_planned;
  }
  num_running_.Set(static_cast<double>(all.size()));
  section_progress_.Set(planned > 0 ? static_cast<double>(written) / static_cast<double>(planned)
                                    : 0);
}

void Documents::WhenIdle(std::function<void()> done) {
  {
    std::lock_guard lock(mutex_);
    if (!running_.empty() && !is_stopped_) return idle_waiters_.push_back(std::move(done));
  }
  done();
}

void Documents::Stop() {
  for (const auto& writer : All()) writer->Abandon();
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    is_stopped_ = true;
    waiters.swap(idle_waiters_);
  }
  for (const auto& done : waiters) done();
}

std::vector<std::shared_ptr<DocumentWriter>> Documents::All() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<DocumentWriter>> all;
  for (const auto& [stream, running] : running_) all.push_back(running.writer);
  return all;
}

}  // namespace longhand::documents
