#include "coordinator/api/generation_service.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "common/request_id.h"
#include "coordinator/api/call_deadline.h"
#include "coordinator/api/request_record.h"
#include "coordinator/api/stored_stream.h"
#include "coordinator/api/stream_sink.h"
#include "coordinator/input/detokenizer.h"
#include "coordinator/journal/reader.h"
#include "longhand/journal/v1/record.pb.h"
#include "proto/grpc_status.h"

namespace longhand::api {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;

bool IsIdCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == ':' ||
         c == '-';
}

Status NotKept(const std::string& request_id) {
  return NotFound("no request '", request_id, "' runs, and none is kept");
}

void FollowFrom(StreamCall& call, std::shared_ptr<EventStream> stream, int64_t from) {
  const int64_t num_events = stream->num_events();
  if (from < 0 || from > num_events + 1) {
    return call.Refuse(InvalidArgument("from is ", from, "; the stream has ", num_events,
                                       " events, so it must be from 1 to ", num_events + 1));
  }
  call.Follow(std::move(stream), std::max<int64_t>(from, 1));
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  const std::shared_ptr<StreamCall> call = StreamCall::Create(*context);
  const Result<std::string> id = ChooseRequestId(request->request_id());
  if (!id.ok()) {
    call->Refuse(id.status());
    return call->reactor();
  }
  const auto bytes = static_cast<int64_t>(request->ByteSizeLong());
  if (bytes_in_preparation_.fetch_add(bytes) + bytes > parts_.max_bytes_in_preparation) {
    bytes_in_preparation_ -= bytes;
    call->Refuse(ResourceExhausted("requests of more than ", parts_.max_bytes_in_preparation,
                                   " bytes are being prepared already; try again"));
    return call->reactor();
  }
  CallIdentity identity{
      .request_id = *id, .call = ++num_calls_, .deadline = SteadyDeadline(context->raw_deadline())};
  // The wire request lives until the call is over, which it cannot be before it was answered.
  const Status queued =
      parts_.pool.Submit([this, call, request, identity = std::move(identity), bytes] {
        FollowOrBegin(*call, *request, identity);
        bytes_in_preparation_ -= bytes;
      });
  if (!queued.ok()) {
    bytes_in_preparation_ -= bytes;
    call->Refuse(queued);
  }
  return call->reactor();
}

Result<std::string> GenerationService::ChooseRequestId(const std::string& asked) {
  if (asked.empty()) return DrawRequestId("gen");
  if (asked.size() > kMaxRequestIdBytes ||
      !std::all_of(asked.begin(), asked.end(), IsIdCharacter)) {
    return InvalidArgument("request_id has ", asked.size(), " bytes; it must be 1 to ",
                           kMaxRequestIdBytes, " of [A-Za-z0-9._:-]");
  }
  return asked;
}

void GenerationService::FollowOrBegin(StreamCall& call,
                                      const v1::GenerateRequest& wire,
                                      const CallIdentity& identity) {
  if (call.gone()) return call.Refuse(Cancelled("the client went away"));
  Result<StreamTable::Begun> begun = parts_.streams.Begin({identity.request_id, DigestOf(wire)});
  if (!begun.ok()) return call.Refuse(begun.status());
  if (begun->is_new) {
    if (const Status status = BeginRequest(begun->stream, wire, identity); !status.ok()) {
      parts_.streams.Remove(*begun->stream);
      begun->stream->End(status);
    }
  }
  call.Follow(std::move(begun->stream), /*from=*/1);
}

Status GenerationService::BeginRequest(const std::shared_ptr<EventStream>& stream,
                                       const v1::GenerateRequest& wire,
                                       const CallIdentity& identity) {
  const bool may_be_kept = !wire.request_id().empty();
  if (may_be_kept) {
    LONGHAND_ASSIGN_OR_RETURN(const bool is_kept, FillFromJournal(*stream));
    if (is_kept) {
      parts_.streams.Remove(*stream);
      return OkStatus();
    }
  }
  return PrepareAndSubmit(stream, wire, identity);
}

Result<bool> GenerationService::FillFromJournal(EventStream& stream) const {
  if (parts_.journal == nullptr) return false;
  const EventStream::Identity& identity = stream.identity();
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<journal::StoredRequest> stored,
                            journal::ReadRequest(parts_.journal_directory, identity.request_id));
  if (!stored.has_value()) return false;
  LONGHAND_ASSIGN_OR_RETURN(const StoredStream kept, StoredStream::Parse(*stored));
  LONGHAND_RETURN_IF_ERROR(CheckSameRequest(identity, kept.identity()));
  kept.Fill(&stream);
  return true;
}

Status GenerationService::PrepareAndSubmit(const std::shared_ptr<EventStream>& stream,
                                           const v1::GenerateRequest& wire,
                                           const CallIdentity& identity) {
  LONGHAND_ASSIGN_OR_RETURN(engine::Request request, parts_.preparer.Prepare(wire));
  request.request_id = identity.request_id;
  request.call = identity.call;
  if (wire.on_disconnect() != v1::ON_DISCONNECT_CONTINUE) {
    request.deadline = identity.deadline;
    stream->SetAbandon([&engine = parts_.engine, id = identity.request_id, call = identity.call] {
      (void)engine.CancelCall(id, call);
    });
  }
  EventContext events{.request_id = identity.request_id, .wanted = wire.return_()};
  if (wire.return_().prompt_token_ids()) events.prompt_token_ids = request.token_ids;
  std::string record;
  if (parts_.journal != nullptr) {
    journal::v1::RequestRecord resolved;
    *resolved.mutable_request() = Resolve(wire, request, parts_.preparer.served_model_name());
    resolved.set_sent_digest(stream->identity().sent_digest);
    record = resolved.SerializeAsString();
  }
  return parts_.engine.Submit(
      std::move(request),
      std::make_unique<StreamSink>(StreamSink::Parts{parts_.streams, parts_.journal}, stream,
                                   std::move(events), std::move(record)));
}

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Attach(
    grpc::CallbackServerContext* context, const v1::AttachRequest* request) {
  const std::shared_ptr<StreamCall> call = StreamCall::Create(*context);
  if (std::shared_ptr<EventStream> stream = parts_.streams.Find(request->request_id())) {
    FollowFrom(*call, std::move(stream), request->from());
    return call->reactor();
  }
  if (parts_.journal == nullptr) {
    call->Refuse(NotKept(request->request_id()));
    return call->reactor();
  }
  const Status queued =
      parts_.pool.Submit([this, call, request] { AttachToKept(*call, *request); });
  if (!queued.ok()) call->Refuse(queued);
  return call->reactor();
}

// It may have been begun, or kept, since the service looked.
void GenerationService::AttachToKept(StreamCall& call, const v1::AttachRequest& request) const {
  if (std::shared_ptr<EventStream> stream = parts_.streams.Find(request.request_id()))
    return FollowFrom(call, std::move(stream), request.from());
  const Result<std::optional<journal::StoredRequest>> stored =
      journal::ReadRequest(parts_.journal_directory, request.request_id());
  if (!stored.ok()) return call.Refuse(stored.status());
  if (!stored->has_value()) return call.Refuse(NotKept(request.request_id()));
  const Result<StoredStream> kept = StoredStream::Parse(**stored);
  if (!kept.ok()) return call.Refuse(kept.status());
  auto stream = std::make_shared<EventStream>(kept->identity());
  kept->Fill(stream.get());
  FollowFrom(call, std::move(stream), request.from());
}

grpc::ServerUnaryReactor* GenerationService::Cancel(grpc::CallbackServerContext* context,
                                                    const v1::CancelRequest* request,
                                                    v1::CancelResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Status queued = parts_.engine.Cancel(
      request->request_id(), [reactor](const Status& status) { reactor->Finish(ToGrpc(status)); });
  if (!queued.ok()) reactor->Finish(ToGrpc(queued));
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const v1::TokenizeRequest* request,
                                                      v1::TokenizeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RunOnPool(reactor, [=, this] { return RunTokenize(*request, response); });
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const v1::DetokenizeRequest* request,
                                                        v1::DetokenizeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RunOnPool(reactor, [=, this] { return RunDetokenize(*request, response); });
  return reactor;
}

void GenerationService::RunOnPool(grpc::ServerUnaryReactor* reactor, std::function<Status()> work) {
  const Status queued =
      parts_.pool.Submit([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
  if (!queued.ok()) reactor->Finish(ToGrpc(queued));
}

Status GenerationService::RunTokenize(const v1::TokenizeRequest& request,
                                      v1::TokenizeResponse* response) const {
  LONGHAND_RETURN_IF_ERROR(parts_.preparer.CheckModel(request.model()));
  LONGHAND_ASSIGN_OR_RETURN(
      const std::vector<int32_t> ids,
      parts_.tokenizer.Encode(request.text(), request.parse_control()
                                                  ? shim::ControlTokens::kParse
                                                  : shim::ControlTokens::kPlainText));
  response->mutable_ids()->Add(ids.begin(), ids.end());
  return OkStatus();
}

Status GenerationService::RunDetokenize(const v1::DetokenizeRequest& request,
                                        v1::DetokenizeResponse* response) const {
  LONGHAND_RETURN_IF_ERROR(parts_.preparer.CheckModel(request.model()));
  const std::vector<int32_t> ids(request.ids().begin(), request.ids().end());
  response->set_text(input::Detokenize(
      parts_.tokenizer, ids,
      request.skip_special_tokens() ? input::SpecialTokens::kSkip : input::SpecialTokens::kKeep));
  return OkStatus();
}

}  // namespace longhand::api
