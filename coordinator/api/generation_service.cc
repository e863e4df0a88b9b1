#include "coordinator/api/generation_service.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <random>
#include <utility>

#include "coordinator/api/call_deadline.h"
#include "coordinator/input/detokenizer.h"
#include "proto/grpc_status.h"

namespace longhand::api {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;

bool IsIdCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == ':' ||
         c == '-';
}

std::string DrawRequestId() {
  std::random_device device;
  char text[40];
  std::snprintf(text, sizeof(text), "gen-%08x%08x%08x", device(), device(), device());
  return text;
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  Result<std::string> id = ChooseRequestId(request->request_id());
  const int64_t number = ++num_calls_;
  // A cancel that comes before the engine knows the request finds nothing; PrepareAndSubmit looks
  // once more.
  auto call = GenerateCall::Create([this, number, name = id.ok() ? *id : std::string()] {
    if (!name.empty()) (void)parts_.engine.CancelCall(name, number);
  });
  grpc::ServerWriteReactor<v1::GenerateEvent>* reactor = call->reactor();
  if (!id.ok()) {
    call->Refuse(id.status());
    return reactor;
  }
  const auto bytes = static_cast<int64_t>(request->ByteSizeLong());
  if (bytes_in_preparation_.fetch_add(bytes) + bytes > parts_.max_bytes_in_preparation) {
    bytes_in_preparation_ -= bytes;
    call->Refuse(ResourceExhausted("requests of more than ", parts_.max_bytes_in_preparation,
                                   " bytes are being prepared already; try again"));
    return reactor;
  }
  CallIdentity identity{.request_id = *id,
                        .call = number,
                        .deadline = SteadyDeadline(context->raw_deadline())};
  const Status queued =
      parts_.pool.Submit([this, call, request, identity = std::move(identity), bytes] {
        PrepareAndSubmit(call, *request, identity);
        bytes_in_preparation_ -= bytes;
      });
  if (!queued.ok()) {
    bytes_in_preparation_ -= bytes;
    call->Refuse(queued);
  }
  return reactor;
}

Result<std::string> GenerationService::ChooseRequestId(const std::string& asked) {
  if (asked.empty()) return DrawRequestId();
  if (asked.size() > kMaxRequestIdBytes ||
      !std::all_of(asked.begin(), asked.end(), IsIdCharacter)) {
    return InvalidArgument("request_id has ", asked.size(), " bytes; it must be 1 to ",
                           kMaxRequestIdBytes, " of [A-Za-z0-9._:-]");
  }
  return asked;
}

// Input thread. The wire request lives until the call is over, which it cannot be before it was
// answered.
void GenerationService::PrepareAndSubmit(const std::shared_ptr<GenerateCall>& call,
                                         const v1::GenerateRequest& wire,
                                         const CallIdentity& identity) {
  if (call->cancelled()) return call->Refuse(Cancelled("the client went away"));
  Result<engine::Request> request = parts_.preparer.Prepare(wire);
  if (!request.ok()) return call->Refuse(request.status());
  request->request_id = identity.request_id;
  request->call = identity.call;
  request->deadline = identity.deadline;
  EventContext events{.request_id = identity.request_id, .wanted = wire.return_()};
  if (wire.return_().prompt_token_ids()) events.prompt_token_ids = request->token_ids;
  const Status submitted =
      parts_.engine.Submit(std::move(request).value(), call->MakeSink(std::move(events)));
  if (!submitted.ok()) return call->Refuse(submitted);
  if (call->cancelled()) (void)parts_.engine.CancelCall(identity.request_id, identity.call);
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
