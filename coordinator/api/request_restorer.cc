#include "coordinator/api/request_restorer.h"

#include <algorithm>
#include <chrono>
#include <ranges>
#include <thread>
#include <unordered_map>
#include <utility>

#include "coordinator/api/event_wire.h"
#include "coordinator/api/part_id.h"
#include "coordinator/api/request_record.h"
#include "coordinator/api/stream_sink.h"

namespace longhand::api {
namespace {

// How long the clients of an earlier coordinator have to come back to streams that they hold.
constexpr Duration kReaderPatience = std::chrono::seconds(60);
// Attempts without an event: the first with company, the others alone.
constexpr int32_t kMaxAttempts = 3;
constexpr std::chrono::milliseconds kLookEvery(5);

const std::string& ModelOf(const journal::v1::RequestRecord& record) {
  return record.has_document() ? record.document().model() : record.request().model();
}

}  // namespace

RequestRestorer::RequestRestorer(Parts parts)
    : parts_(std::move(parts)),
      restored_(parts_.metrics.GetCounter("longhand_journal_requests_restored_total")),
      tokens_lost_(parts_.metrics.GetCounter("longhand_tokens_lost_total")) {}

void RequestRestorer::BeginStreams(const std::vector<journal::StoredRequest>& unfinished) {
  {
    std::lock_guard lock(mutex_);
    is_idle_ = unfinished.empty();
  }
  for (const journal::StoredRequest& stored : unfinished) {
    Unfinished& request = requests_.emplace_back(Unfinished{.attempts = stored.attempts});
    Result<StoredStream> parsed = StoredStream::Parse(stored);
    if (parsed.ok()) {
      request.stored = std::move(parsed).value();
    } else {
      request.damage = parsed.status();
      tokens_lost_.Increment(static_cast<double>(stored.events.size()));
      request.stored.record.mutable_request()->set_request_id(stored.request_id);
    }
    Result<StreamTable::Begun> begun = parts_.streams.Begin(request.stored.identity());
    LONGHAND_CHECK(begun.ok() && begun->is_new) << stored.request_id << " is stored twice";
    request.stream = begun->stream;
    request.stored.Fill(request.stream.get());
    request.stream->SetCancel([this, &request] { return Withdraw(request); });
    if (request.stored.on_disconnect() != v1::ON_DISCONNECT_CONTINUE) {
      request.stream->SetAbandon([this, &request, id = stored.request_id] {
        if (!Withdraw(request)) (void)parts_.router.CancelCall(id, /*call=*/0);
      });
      request.stream->ExpectReader(parts_.clock.Now() + kReaderPatience);
    }
  }
  JoinDocuments();
}

void RequestRestorer::JoinDocuments() {
  std::unordered_map<std::string, const v1::WriteDocumentRequest*> documents;
  for (const Unfinished& request : requests_) {
    if (request.stored.is_document())
      documents[request.stream->identity().request_id] = &request.stored.record.document();
  }
  for (Unfinished& request : requests_) {
    const std::string document = DocumentOf(request.stream->identity().request_id);
    if (document.empty() || !request.damage.ok()) continue;
    const auto found = documents.find(document);
    if (found == documents.end()) {
      request.damage = Cancelled("the document '", document, "' is over");
    } else {
      *request.stored.record.mutable_request()->mutable_images() = found->second->images();
    }
  }
}

// The newest first: where several had one name, the last of them has it. A worker that is lost
// while it loads one is no reason to do without.
void RequestRestorer::HoldAdapters() {
  if (holds_adapters_) return;
  for (Unfinished& request : std::views::reverse(requests_)) {
    const journal::v1::RequestRecord& record = request.stored.record;
    while (record.has_adapter() && request.damage.ok() && !request.adapter && !stopping_) {
      Result<AdapterTable::Held> held = parts_.adapters.Restore(
          ModelOf(record), record.adapter().directory(), record.adapter().digest());
      if (held.ok()) {
        request.adapter = std::move(held).value();
      } else if (held.status().code() == StatusCode::kUnavailable) {
        std::this_thread::sleep_for(kLookEvery);
      } else {
        request.damage = held.status();
      }
    }
  }
  holds_adapters_ = true;
}

void RequestRestorer::Restore() {
  HoldAdapters();
  if (stopping_) return;
  std::vector<Unfinished*> trusted, suspects;
  for (Unfinished& request : requests_) {
    if (request.attempts >= kMaxAttempts) {
      request.damage = Internal("the coordinator ended ", request.attempts,
                                " times in a row while it took this request up again; it is not "
                                "tried any more");
    }
    if (request.stored.is_document() || !request.damage.ok()) {
      RestoreOrEnd(request);
    } else {
      (request.attempts == 0 ? trusted : suspects).push_back(&request);
    }
  }
  NoteAttempts(trusted);
  for (Unfinished* request : trusted) RestoreOrEnd(*request);
  // Whom chance met once is tried behind the others: to meet it again, chance must wait for it.
  std::ranges::stable_sort(suspects, {}, &Unfinished::attempts);
  for (Unfinished* request : suspects) RestoreSuspect(*request);
  for (Unfinished& request : requests_) request.adapter.reset();  // of those withdrawn
  TellIdle();
}

void RequestRestorer::RestoreSuspect(Unfinished& request) {
  // What ends the coordinator before a token can be made is not the request.
  while (!parts_.is_ready() && !stopping_ && !IsWithdrawn(request))
    std::this_thread::sleep_for(kLookEvery);
  if (stopping_ || IsWithdrawn(request)) return;
  NoteAttempts({&request});
  if (stopping_) return;
  RestoreOrEnd(request);
  WaitForProgress(*request.stream);
}

void RequestRestorer::WhenIdle(std::function<void()> done) {
  {
    std::lock_guard lock(mutex_);
    if (!is_idle_) return idle_waiters_.push_back(std::move(done));
  }
  done();
}

void RequestRestorer::Stop() {
  stopping_ = true;
  TellIdle();
}

void RequestRestorer::TellIdle() {
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    is_idle_ = true;
    waiters.swap(idle_waiters_);
  }
  for (const auto& done : waiters) done();
}

bool RequestRestorer::Withdraw(Unfinished& request) {
  std::unique_ptr<engine::TokenSink> sink;
  bool is_document = false;
  {
    std::lock_guard lock(mutex_);
    if (request.state != State::kHere) return false;
    request.state = State::kWithdrawn;
    is_document = request.stored.is_document();
    sink = MakeSink(request, {});
  }
  sink->OnEnd(Cancelled("the request was cancelled"));
  if (!is_document) return true;
  for (Unfinished& each : requests_) {
    const std::string& id = each.stream->identity().request_id;
    if (DocumentOf(id) == request.stream->identity().request_id) (void)Withdraw(each);
  }
  return true;
}

bool RequestRestorer::IsWithdrawn(const Unfinished& request) const {
  std::lock_guard lock(mutex_);
  return request.state == State::kWithdrawn;
}

void RequestRestorer::NoteAttempts(std::vector<Unfinished*> requests) {
  if (requests.empty() || parts_.journal == nullptr) return;
  const auto noted = std::make_shared<std::atomic<bool>>(false);  // with the journal's thread
  for (Unfinished* request : requests) {
    const bool is_last = request == requests.back();
    parts_.journal->Append(
        journal::AttemptEntry{request->stream->identity().request_id, ++request->attempts},
        is_last ? journal::Journal::Done([noted] { *noted = true; }) : nullptr);
  }
  while (!*noted && !stopping_) std::this_thread::sleep_for(kLookEvery);
}

void RequestRestorer::RestoreOrEnd(Unfinished& request) {
  const Status status = Restore(request);
  // If it is kUnavailable this coordinator ends, too.
  if (!status.ok() && status.code() != StatusCode::kUnavailable) End(request, status);
  if (status.ok() && !IsWithdrawn(request)) restored_.Increment();
  std::lock_guard lock(mutex_);
  if (request.state != State::kHere) request.stored = {};  // The engine and the stream have it.
}

void RequestRestorer::End(Unfinished& request, const Status& status) {
  std::unique_ptr<engine::TokenSink> sink;
  {
    std::lock_guard lock(mutex_);
    if (request.state == State::kWithdrawn) return;
    request.state = State::kGiven;
    sink = MakeSink(request, {});
  }
  sink->OnEnd(status);
}

void RequestRestorer::WaitForProgress(const EventStream& stream) const {
  const int64_t num_events = stream.num_events();
  while (!stopping_ && stream.num_events() == num_events &&
         !stream.Look(num_events + 1).end.has_value())
    std::this_thread::sleep_for(kLookEvery);
}

void RequestRestorer::Acquit() {
  if (parts_.journal == nullptr) return;
  for (const Unfinished& request : requests_)
    parts_.journal->Append(journal::AttemptEntry{request.stream->identity().request_id, 0},
                           nullptr);
}

Status RequestRestorer::Restore(Unfinished& request) {
  LONGHAND_RETURN_IF_ERROR(request.damage);
  const journal::v1::RequestRecord& record = request.stored.record;
  AdapterTable::Held adapter = std::move(request.adapter);
  if (adapter == nullptr) LONGHAND_RETURN_IF_ERROR(parts_.preparer.CheckModel(ModelOf(record)));
  LONGHAND_RETURN_IF_ERROR(CheckCheckpoint(record));
  if (request.stored.is_document()) {
    {
      std::lock_guard lock(mutex_);
      if (request.state == State::kWithdrawn) return OkStatus();
      request.state = State::kGiven;
    }
    parts_.documents.Restore(request.stream, record, std::move(adapter));
    return OkStatus();
  }
  const v1::GenerateRequest& wire = record.request();
  LONGHAND_ASSIGN_OR_RETURN(engine::Request prepared,
                            parts_.preparer.Prepare(wire, std::move(adapter)));
  prepared.request_id = wire.request_id();
  prepared.trace = FromWire(record.trace());
  if (const std::string& owner = record.owner(); !owner.empty()) prepared.tenant = owner;
  LONGHAND_ASSIGN_OR_RETURN(engine::Delivered delivered,
                            DeliveredOf(request.stored.events, prepared.num_choices));
  return Give(request, std::move(prepared), std::move(delivered));
}

// Under the mutex, so that whoever is told that the request is not here finds it there.
Status RequestRestorer::Give(Unfinished& request,
                             engine::Request prepared,
                             engine::Delivered delivered) {
  std::lock_guard lock(mutex_);
  if (request.state == State::kWithdrawn) return OkStatus();
  request.state = State::kGiven;
  std::unique_ptr<engine::TokenSink> sink = MakeSink(request, prepared.token_ids);
  return parts_.router.Restore(std::move(prepared), std::move(delivered), std::move(sink));
}

Status RequestRestorer::CheckCheckpoint(const journal::v1::RequestRecord& record) const {
  const std::string& digest = record.checkpoint_digest();
  if (digest.empty() || digest == parts_.checkpoint_digest) return OkStatus();
  return FailedPrecondition("the request was begun by another checkpoint that was served as '",
                            ModelOf(record), "'; it cannot go on with this one");
}

std::unique_ptr<engine::TokenSink> RequestRestorer::MakeSink(
    const Unfinished& request, std::vector<int32_t> prompt_token_ids) const {
  const v1::GenerateRequest& wire = request.stored.record.request();
  return std::make_unique<StreamSink>(
      StreamSink::Parts{parts_.streams, parts_.journal}, request.stream,
      EventContext{.request_id = request.stream->identity().request_id,
                   .wanted = wire.return_(),
                   .prompt_token_ids = std::move(prompt_token_ids)},
      /*record=*/"");
}

}  // namespace longhand::api
