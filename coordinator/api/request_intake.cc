#include "coordinator/api/request_intake.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <utility>

#include "common/out_of_memory.h"
#include "common/request_id.h"
#include "coordinator/api/part_id.h"
#include "coordinator/api/prompt_logprobs.h"
#include "coordinator/api/request_record.h"
#include "coordinator/api/stored_stream.h"
#include "coordinator/api/stream_sink.h"
#include "coordinator/input/detokenizer.h"
#include "coordinator/journal/reader.h"

namespace longhand::api {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;
constexpr int64_t kLargeRecordBytes = 256 << 10;
// Takes half a gigabyte and two seconds; prompts that are to be answered are bounded by the
// context.
constexpr size_t kMaxTokenizedBytes = 4 << 20;

bool IsIdCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == ':' ||
         c == '-';
}

// The document's own record has them.
void LeaveOutPictures(v1::GenerateRequest* request) {
  for (v1::Image& image : *request->mutable_images()) image.clear_data();
}

}  // namespace

Result<RequestIntake::Call> RequestIntake::NewCall(const std::string& asked,
                                                   const std::string& prefix,
                                                   TimePoint deadline,
                                                   std::string_view traceparent) {
  if (asked.size() > kMaxRequestIdBytes) {
    return InvalidField("request_id", " has ", asked.size(), " bytes; at most ", kMaxRequestIdBytes,
                        " are possible");
  }
  if (!std::all_of(asked.begin(), asked.end(), IsIdCharacter)) {
    return InvalidField("request_id", " is '", asked, "'; it must be of [A-Za-z0-9._:-]");
  }
  return Call{.request_id = asked.empty() ? DrawRequestId(prefix) : asked,
              .number = ++num_calls_,
              .deadline = deadline,
              .trace = parts_.traces ? ContinueTrace(traceparent) : Trace()};
}

Status RequestIntake::Reserve(int64_t bytes) {
  if (bytes_in_preparation_.fetch_add(bytes) + bytes <= parts_.max_bytes_in_preparation)
    return OkStatus();
  Release(bytes);
  return ResourceExhausted("requests of more than ", parts_.max_bytes_in_preparation,
                           " bytes are being prepared already")
      .WithRetryAdvice(1);
}

Result<std::shared_ptr<EventStream>> RequestIntake::FollowOrBegin(
    const v1::GenerateRequest& wire, const journal::v1::AnswerForm& form, Call call) {
  journal::v1::AnswerForm shown = form;
  shown.set_model(wire.model());
  call.trace.operation = wire.has_messages() ? "chat" : "text_completion";
  return FollowOrBegin(wire, shown, call, /*may_be_kept=*/!wire.request_id().empty(),
                       [&](const auto& stream) { return PrepareAndSubmit(stream, wire, call); });
}

Result<std::shared_ptr<EventStream>> RequestIntake::FollowOrBegin(
    const google::protobuf::Message& sent,
    const journal::v1::AnswerForm& form,
    const Call& call,
    bool may_be_kept,
    const Begin& begin) {
  LONGHAND_RETURN_IF_ERROR(CheckKept());
  EventStream::Identity identity{call.request_id, DigestOf(sent, form), form, call.owner};
  identity.form.set_created(std::time(nullptr));
  LONGHAND_ASSIGN_OR_RETURN(StreamTable::Begun begun, parts_.streams.Begin(identity));
  if (begun.is_new) {
    const Status status =
        RefuseWithoutMemory([&] { return FillOrBegin(&begun.stream, call, may_be_kept, begin); });
    if (!status.ok()) {
      TellRefusal(call, status);
      parts_.streams.Remove(*begun.stream);
      begun.stream->End(status);
    }
  } else if (!call.is_part) {
    clients_returned_.Increment();
  }
  return std::move(begun.stream);
}

void RequestIntake::TellRefusal(const Call& call, const Status& status) const {
  if (!parts_.on_refusal) return;
  parts_.on_refusal(
      engine::SummariseRefused({.request_id = call.request_id, .trace = call.trace}, status));
}

Status RequestIntake::CheckKept() const {
  if (knows_kept_) return OkStatus();
  return Unavailable("what is kept cannot be read yet: ", parts_.journal->health().message());
}

// Small ones need not ask: they go where the others go.
Status RequestIntake::CheckRoom(const std::string& record) const {
  if (std::ssize(record) < kLargeRecordBytes) return OkStatus();
  const Status status = parts_.journal->CheckRoom(std::ssize(record));
  if (status.ok() || status.code() == StatusCode::kInvalidArgument) return status;
  return Unavailable("the request cannot be kept now: ", status.message());
}

Status RequestIntake::FillOrBegin(std::shared_ptr<EventStream>* stream,
                                  const Call& call,
                                  bool may_be_kept,
                                  const Begin& begin) {
  if (may_be_kept) {
    LONGHAND_ASSIGN_OR_RETURN(std::shared_ptr<EventStream> kept, FillFromJournal(**stream));
    if (kept != nullptr) {
      parts_.streams.Remove(**stream);
      *stream = std::move(kept);
      return OkStatus();
    }
  }
  if (is_draining_ && !call.is_part)
    return Unavailable("the coordinator is draining: it takes no new requests");
  return begin(*stream);
}

Result<std::shared_ptr<EventStream>> RequestIntake::FillFromJournal(EventStream& stream) const {
  if (parts_.journal == nullptr) return std::shared_ptr<EventStream>();
  const EventStream::Identity& identity = stream.identity();
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<journal::StoredRequest> stored,
                            journal::ReadRequest(parts_.journal_directory, identity.request_id));
  if (!stored.has_value()) return std::shared_ptr<EventStream>();
  LONGHAND_ASSIGN_OR_RETURN(const StoredStream kept, StoredStream::Parse(*stored));
  LONGHAND_RETURN_IF_ERROR(CheckSameRequest(identity, kept.identity()));
  kept.Fill(&stream);
  auto first = std::make_shared<EventStream>(kept.identity());
  kept.Fill(first.get());
  return first;
}

Status RequestIntake::PrepareAndSubmit(const std::shared_ptr<EventStream>& stream,
                                       const v1::GenerateRequest& wire,
                                       const Call& call) {
  LONGHAND_ASSIGN_OR_RETURN(engine::Request request, parts_.preparer.Prepare(wire, call.adapter));
  return Submit(std::move(request), stream, wire, call, parts_.journal);
}

Status RequestIntake::Submit(engine::Request request,
                             const std::shared_ptr<EventStream>& stream,
                             const v1::GenerateRequest& wire,
                             const Call& call,
                             journal::Journal* journal) {
  request.request_id = call.request_id;
  request.call = call.number;
  request.trace = call.trace;
  if (!call.owner.empty()) request.tenant = call.owner;
  if (wire.on_disconnect() != v1::ON_DISCONNECT_CONTINUE) {
    request.deadline = call.deadline;
    stream->SetAbandon([&router = parts_.router, id = call.request_id, number = call.number] {
      (void)router.CancelCall(id, number);
    });
  }
  EventContext events{.request_id = call.request_id, .wanted = wire.return_()};
  if (wire.return_().prompt_token_ids()) events.prompt_token_ids = request.token_ids;
  std::string record;
  if (journal != nullptr) {
    const engine::Adapter* adapter = request.adapter.get();
    journal::v1::RequestRecord resolved =
        MakeRecord(stream->identity(), parts_.checkpoint_digest, adapter, call.trace);
    *resolved.mutable_request() = Resolve(
        wire, request, adapter != nullptr ? adapter->name : parts_.preparer.served_model_name());
    if (call.is_part) LeaveOutPictures(resolved.mutable_request());
    record = resolved.SerializeAsString();
    LONGHAND_RETURN_IF_ERROR(CheckRoom(record));
  }
  return parts_.router.Submit(
      std::move(request),
      std::make_unique<StreamSink>(StreamSink::Parts{parts_.streams, journal}, stream,
                                   std::move(events), std::move(record)));
}

Result<std::vector<std::shared_ptr<EventStream>>> RequestIntake::BeginTogether(
    const std::vector<v1::GenerateRequest>& wires,
    const journal::v1::AnswerForm& form,
    const Call& call) {
  Result<std::vector<engine::Request>> prepared = PrepareTogether(wires);
  if (!prepared.ok()) {
    TellRefusal(call, prepared.status());
    return prepared.status();
  }
  std::vector<std::shared_ptr<EventStream>> streams;
  for (size_t i = 0; i < wires.size(); ++i) {
    Call part = call;
    part.request_id = PartId(call.request_id, "prompt-" + std::to_string(i));
    part.number = ++num_calls_;
    if (i > 0) part.trace = ChildOf(call.trace);
    part.trace.operation = "text_completion";
    EventStream::Identity identity{part.request_id, DigestOf(wires[i], form), form, part.owner};
    identity.form.set_model(wires[i].model());
    identity.form.set_created(std::time(nullptr));
    LONGHAND_ASSIGN_OR_RETURN(const StreamTable::Begun begun, parts_.streams.Begin(identity));
    streams.push_back(begun.stream);
    const Status status = Submit(std::move((*prepared)[i]), begun.stream, wires[i], part,
                                 /*journal=*/nullptr);
    if (status.ok()) continue;
    // Who follows it is told; the others end with it, as it is followed with them.
    parts_.streams.Remove(*begun.stream);
    begun.stream->End(status);
  }
  return streams;
}

Result<std::vector<engine::Request>> RequestIntake::PrepareTogether(
    const std::vector<v1::GenerateRequest>& wires) const {
  if (is_draining_) return Unavailable("the coordinator is draining: it takes no new requests");
  std::vector<engine::Request> prepared;
  int64_t num_prompt_logprobs = 0;
  for (const v1::GenerateRequest& wire : wires) {
    Result<engine::Request> request = parts_.preparer.Prepare(wire);
    if (!request.ok())
      return request.status().WithContext("prompt " + std::to_string(prepared.size()));
    num_prompt_logprobs += NumPromptLogprobs(*request);
    prepared.push_back(std::move(request).value());
  }
  LONGHAND_RETURN_IF_ERROR(CheckNumPromptLogprobs(num_prompt_logprobs));
  return prepared;
}

std::shared_ptr<EventStream> RequestIntake::FindRunning(const std::string& request_id,
                                                        const std::string& owner) const {
  std::shared_ptr<EventStream> stream = parts_.streams.Find(request_id, owner);
  if (stream) clients_returned_.Increment();
  return stream;
}

// It may have been begun, or kept, since the caller looked.
Result<std::shared_ptr<EventStream>> RequestIntake::Find(const std::string& request_id,
                                                         const std::string& owner) const {
  if (std::shared_ptr<EventStream> running = FindRunning(request_id, owner)) return running;
  LONGHAND_RETURN_IF_ERROR(CheckKept());
  const Status unknown = NotFound("no request '", request_id, "' runs, and none is kept");
  std::optional<journal::StoredRequest> stored;
  if (parts_.journal != nullptr) {
    LONGHAND_ASSIGN_OR_RETURN(stored, journal::ReadRequest(parts_.journal_directory, request_id));
  }
  if (!stored.has_value()) return unknown;
  LONGHAND_ASSIGN_OR_RETURN(const StoredStream kept, StoredStream::Parse(*stored));
  if (kept.identity().owner != owner) return unknown;
  auto stream = std::make_shared<EventStream>(kept.identity());
  kept.Fill(stream.get());
  clients_returned_.Increment();
  return stream;
}

Status RequestIntake::Cancel(const std::string& request_id,
                             const std::string& owner,
                             std::function<void(const Status&)> done) {
  LONGHAND_RETURN_IF_ERROR(CheckKept());
  const std::shared_ptr<EventStream> stream = parts_.streams.Find(request_id, owner);
  if (stream == nullptr) return NotFound("no request '", request_id, "' is running");
  if (stream->Cancel()) {
    done(OkStatus());
    return OkStatus();
  }
  return parts_.router.Cancel(request_id, std::move(done));
}

Result<std::vector<int32_t>> RequestIntake::Tokenize(const v1::TokenizeRequest& request) const {
  LONGHAND_RETURN_IF_ERROR(parts_.preparer.CheckModel(request.model()));
  if (request.text().size() > kMaxTokenizedBytes) {
    return InvalidArgument("the text has ", request.text().size(), " bytes; at most ",
                           kMaxTokenizedBytes, " are tokenised at once")
        .About("prompt");
  }
  return parts_.tokenizer.Encode(request.text(), request.parse_control()
                                                     ? shim::ControlTokens::kParse
                                                     : shim::ControlTokens::kPlainText);
}

Result<std::string> RequestIntake::Detokenize(const v1::DetokenizeRequest& request) const {
  LONGHAND_RETURN_IF_ERROR(parts_.preparer.CheckModel(request.model()));
  const std::vector<int32_t> ids(request.ids().begin(), request.ids().end());
  // Rows of the embedding may be more than tokens, which have no text then; or fewer.
  const int64_t end =
      std::max<int64_t>(parts_.preparer.vocab_size(), parts_.tokenizer.vocab_size());
  LONGHAND_RETURN_IF_ERROR(CheckTokenIds("tokens", ids, end));
  return input::Detokenize(
      parts_.tokenizer, ids,
      request.skip_special_tokens() ? input::SpecialTokens::kSkip : input::SpecialTokens::kKeep);
}

Result<int64_t> PlaceIn(const EventStream& stream, int64_t from) {
  const int64_t num_events = stream.num_events();
  if (from >= 0 && from <= num_events + 1) return std::max<int64_t>(from, 1);
  return InvalidField("from", " is ", from, "; the stream has ", num_events,
                      " events, so it must be from 1 to ", num_events + 1);
}

}  // namespace longhand::api
