#include "coordinator/documents/document_writer.h"

#include <algorithm>
#include <utility>

#include "coordinator/api/part_id.h"

namespace longhand::documents {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(200);
constexpr Duration kMaxPause = std::chrono::seconds(2);
constexpr Duration kPoolPause = std::chrono::milliseconds(100);

// What passes by itself.
bool MayPass(const Status& status) {
  return status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kResourceExhausted;
}

// Another request has the id of a call: it was made from other texts.
Status AsFailure(const Status& status) {
  if (status.code() != StatusCode::kAlreadyExists) return status;
  return FailedPrecondition(
      "the document was begun by another version of this program; it cannot go on with this one");
}

}  // namespace

DocumentWriter::DocumentWriter(const Parts& parts,
                               DocumentScript script,
                               std::shared_ptr<api::EventStream> stream,
                               api::RecordedStream out,
                               bool is_taken)
    : parts_(parts),
      stream_(std::move(stream)),
      num_stored_(stream_->num_events()),
      script_(std::move(script)),
      out_(std::move(out)),
      is_taken_(is_taken) {}

void DocumentWriter::OnMore() {
  std::lock_guard lock(mutex_);
  Advance();
}

void DocumentWriter::Advance() {
  if (is_over_ || is_busy_) return;
  const std::shared_ptr<api::EventStream> call = call_;  // past its end
  while (!is_over_) {
    const api::EventStream::Next next = call->Look(next_call_seq_);
    DocumentScript::Events events;
    if (next.accepted && !std::exchange(is_call_taken_, true)) {
      if (!std::exchange(is_taken_, true)) out_.Accept();
      pause_ = {};
      script_.OnTaken(&events);
    }
    const bool is_last =
        next.event != nullptr && next.event->finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
    if (next.event != nullptr && !is_last) script_.OnEvent(*next.event, &events);
    if (const Status status = Publish(std::move(events)); !status.ok()) return End(status);
    if (is_last) return Run(&DocumentWriter::FinishCall);
    if (next.event == nullptr) {
      if (next.end.has_value()) OnCallEnded(*next.end, next.accepted);
      return;
    }
    ++next_call_seq_;
  }
}

// What an earlier coordinator published must be what is published now.
Status DocumentWriter::Publish(DocumentScript::Events events) {
  for (v1::GenerateEvent& event : events) {
    event.set_seq(++last_seq_);
    if (last_seq_ == 1) event.set_request_id(stream_->identity().request_id);
    if (last_seq_ > num_stored_) {
      out_.Publish(std::move(event), /*wanted=*/{});
    } else if (event.SerializeAsString() != stream_->Look(last_seq_).event->SerializeAsString()) {
      return Status(StatusCode::kDataLoss,
                    "event " + std::to_string(last_seq_) +
                        " of the document would not be made again as it was sent");
    }
  }
  progress_ = {script_.num_sections(), script_.num_words_written(), script_.num_words_planned()};
  return OkStatus();
}

// The call came to an end before its answer did.
void DocumentWriter::OnCallEnded(const Status& end, bool was_taken) {
  // No place came free in time, or a coordinator ended before it had recorded the document.
  const bool expired =
      was_taken && next_call_seq_ == 1 &&
      (end.code() == StatusCode::kResourceExhausted || end.code() == StatusCode::kCancelled);
  const bool refused = !was_taken && MayPass(end);
  if (!is_taken_) return End(end);
  if (!expired && !refused) return End(script_.InContext(AsFailure(end)));
  Leave();
  num_expired_ += expired ? 1 : 0;
  pause_ = std::min(kMaxPause, std::max(kFirstPause, 2 * pause_));
  RunLater(&DocumentWriter::MakeCall,
           std::max<Duration>(pause_, std::chrono::seconds(end.retry_after_seconds())));
}

void DocumentWriter::End(const Status& status) {
  if (std::exchange(is_over_, true)) return;
  Leave();
  out_.End(status);
  DocumentSummary summary;
  summary.request_id = stream_->identity().request_id;
  summary.status = status;
  summary.was_taken = is_taken_;
  summary.num_sections = progress_.num_sections;
  summary.num_words = progress_.num_words_written;
  parts_.on_over(summary);
}

void DocumentWriter::Leave() {
  if (call_ != nullptr) call_->Leave(*this);
  call_ = nullptr;
  is_call_taken_ = false;
  next_call_seq_ = 1;
}

void DocumentWriter::Run(Job job) {
  is_busy_ = true;
  const Status queued =
      parts_.run_on_pool([self = shared_from_this(), job] { (self.get()->*job)(); });
  if (!queued.ok()) RunLater(job, kPoolPause);
}

void DocumentWriter::RunLater(Job job, Duration in) {
  is_busy_ = true;
  due_ = job;
  due_at_ = parts_.clock.Now() + in;
}

void DocumentWriter::LookAround(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (is_over_ || due_ == nullptr || now < due_at_) return;
  Run(std::exchange(due_, nullptr));
}

void DocumentWriter::MakeCall() {
  v1::GenerateRequest call = script_.MakeCall();
  const api::EventStream::Identity& identity = stream_->identity();
  std::string id = api::PartId(identity.request_id, script_.call_name());
  if (num_expired_ > 0) id += "-again-" + std::to_string(num_expired_);
  call.set_request_id(id);
  Result<std::shared_ptr<api::EventStream>> begun = parts_.begin_call(call, identity.owner);
  std::unique_lock lock(mutex_);
  if (is_over_) {
    const bool is_unwanted = is_cancelled_ && begun.ok();
    lock.unlock();
    if (is_unwanted) parts_.cancel_call(id, identity.owner);
    return;
  }
  if (!begun.ok()) return OnCallEnded(begun.status(), /*was_taken=*/false);
  is_busy_ = false;
  call_ = std::move(begun).value();
  call_->Join(shared_from_this());
  Advance();
}

void DocumentWriter::FinishCall() {
  std::shared_ptr<api::EventStream> call;  // keeps the event
  const v1::GenerateEvent* last = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (is_over_) return;
    call = call_;
    last = call->Look(next_call_seq_).event;
  }
  DocumentScript::Events events;
  const Status status = script_.OnLast(*last, &events);
  {
    std::lock_guard lock(mutex_);
    if (is_over_) return;
    Leave();
    num_expired_ = 0;
    Status published = Publish(std::move(events));
    if (published.ok()) published = status;
    if (!published.ok() || script_.is_written()) return End(published);
  }
  MakeCall();
}

void DocumentWriter::Cancel(const Status& why) {
  std::string running;
  {
    std::lock_guard lock(mutex_);
    if (is_over_) return;
    is_cancelled_ = true;
    if (call_ != nullptr) running = call_->identity().request_id;
    End(why);
  }
  if (!running.empty()) parts_.cancel_call(running, stream_->identity().owner);
}

void DocumentWriter::Abandon() {
  std::lock_guard lock(mutex_);
  is_over_ = true;
  Leave();
}

DocumentWriter::Progress DocumentWriter::progress() const {
  std::lock_guard lock(mutex_);
  return progress_;
}

}  // namespace longhand::documents
