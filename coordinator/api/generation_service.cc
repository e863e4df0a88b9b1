#include "coordinator/api/generation_service.h"

#include <utility>

#include "coordinator/api/call_deadline.h"
#include "coordinator/api/caller_check.h"
#include "proto/grpc_status.h"

namespace longhand::api {
namespace {

void FollowFrom(StreamCall& call, Result<std::shared_ptr<EventStream>> stream, int64_t from) {
  if (!stream.ok()) return call.Refuse(stream.status());
  const Result<int64_t> place = PlaceIn(**stream, from);
  if (!place.ok()) return call.Refuse(place.status());
  call.Follow(std::move(stream).value(), *place);
}

void Refuse(const Status& status,
            grpc::CallbackServerContext& context,
            grpc::ServerUnaryReactor& reactor) {
  AddRetryAfter(status, context);
  reactor.Finish(ToGrpc(status));
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return Follow(*context, *request, "gen", [this, request](const RequestIntake::Call& call) {
    return intake_.FollowOrBegin(*request, {}, call);
  });
}

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::WriteDocument(
    grpc::CallbackServerContext* context, const v1::WriteDocumentRequest* request) {
  return Follow(*context, *request, "doc", [this, request](const RequestIntake::Call& call) {
    return documents_.FollowOrBegin(*request, call);
  });
}

template <typename Request>
grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Follow(
    grpc::CallbackServerContext& context,
    const Request& request,
    const char* prefix,
    std::function<Result<Stream>(const RequestIntake::Call&)> begin) {
  const std::shared_ptr<StreamCall> call = StreamCall::Create(context);
  Result<std::string> caller = NameOfCaller(keys_, context);
  if (!caller.ok()) {
    call->Refuse(caller.status());
    return call->reactor();
  }
  Result<RequestIntake::Call> identity =
      intake_.NewCall(request.request_id(), prefix, SteadyDeadline(context.raw_deadline()),
                      FindMetadata(context, "traceparent"));
  if (!identity.ok()) {
    call->Refuse(identity.status());
    return call->reactor();
  }
  identity->owner = std::move(caller).value();
  const auto bytes = static_cast<int64_t>(request.ByteSizeLong());
  if (const Status status = intake_.Reserve(bytes); !status.ok()) {
    call->Refuse(status);
    return call->reactor();
  }
  // The wire request lives until the call is over, which it cannot be before it was answered.
  const Status queued = pool_.Submit(
      [this, call, begin = std::move(begin), identity = std::move(identity).value(), bytes] {
        if (call->gone()) {
          call->Refuse(Cancelled("the client went away"));
        } else {
          FollowFrom(*call, begin(identity), /*from=*/1);
        }
        intake_.Release(bytes);
      });
  if (!queued.ok()) {
    intake_.Release(bytes);
    call->Refuse(queued);
  }
  return call->reactor();
}

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Attach(
    grpc::CallbackServerContext* context, const v1::AttachRequest* request) {
  const std::shared_ptr<StreamCall> call = StreamCall::Create(*context);
  const Result<std::string> caller = NameOfCaller(keys_, *context);
  if (!caller.ok()) {
    call->Refuse(caller.status());
    return call->reactor();
  }
  if (std::shared_ptr<EventStream> stream = intake_.FindRunning(request->request_id(), *caller)) {
    FollowFrom(*call, std::move(stream), request->from());
    return call->reactor();
  }
  const Status queued = pool_.Submit([this, call, request, caller = *caller] {
    FollowFrom(*call, intake_.Find(request->request_id(), caller), request->from());
  });
  if (!queued.ok()) call->Refuse(queued);
  return call->reactor();
}

grpc::ServerUnaryReactor* GenerationService::Cancel(grpc::CallbackServerContext* context,
                                                    const v1::CancelRequest* request,
                                                    v1::CancelResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<std::string> caller = NameOfCaller(keys_, *context);
  Status queued = caller.status();
  if (queued.ok()) {
    queued = intake_.Cancel(request->request_id(), *caller,
                            [reactor](const Status& status) { reactor->Finish(ToGrpc(status)); });
  }
  if (!queued.ok()) Refuse(queued, *context, *reactor);
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const v1::TokenizeRequest* request,
                                                      v1::TokenizeResponse* response) {
  return RunOnPool(context, [=, this]() -> Status {
    LONGHAND_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, intake_.Tokenize(*request));
    response->mutable_ids()->Add(ids.begin(), ids.end());
    return OkStatus();
  });
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const v1::DetokenizeRequest* request,
                                                        v1::DetokenizeResponse* response) {
  return RunOnPool(context, [=, this]() -> Status {
    LONGHAND_ASSIGN_OR_RETURN(*response->mutable_text(), intake_.Detokenize(*request));
    return OkStatus();
  });
}

grpc::ServerUnaryReactor* GenerationService::RunOnPool(grpc::CallbackServerContext* context,
                                                       std::function<Status()> work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Status queued = CheckCaller(keys_, *context);
  if (queued.ok()) {
    queued = pool_.Submit([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
  }
  if (!queued.ok()) Refuse(queued, *context, *reactor);
  return reactor;
}

}  // namespace longhand::api
