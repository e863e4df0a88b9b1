// The Generation service: gRPC's edge of the engine.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "coordinator/api/api_keys.h"
#include "coordinator/api/document_desk.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/api/stream_call.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::api {

// Any gRPC thread; work on prompts is handed to the input pool.
class GenerationService final : public v1::Generation::CallbackService {
 public:
  GenerationService(RequestIntake& intake,
                    DocumentDesk& documents,
                    InputPool& pool,
                    const ApiKeys& keys)
      : intake_(intake), documents_(documents), pool_(pool), keys_(keys) {}

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::GenerateEvent>* WriteDocument(
      grpc::CallbackServerContext* context, const v1::WriteDocumentRequest* request) override;
  grpc::ServerWriteReactor<v1::GenerateEvent>* Attach(grpc::CallbackServerContext* context,
                                                      const v1::AttachRequest* request) override;
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::CancelRequest* request,
                                   v1::CancelResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;

 private:
  using Stream = std::shared_ptr<EventStream>;

  // Has `begin` find or begin the stream that the call follows.
  template <typename Request>
  grpc::ServerWriteReactor<v1::GenerateEvent>* Follow(
      grpc::CallbackServerContext& context,
      const Request& request,
      const char* prefix,
      std::function<Result<Stream>(const RequestIntake::Call&)> begin);
  grpc::ServerUnaryReactor* RunOnPool(grpc::CallbackServerContext* context,
                                      std::function<Status()> work);

  RequestIntake& intake_;
  DocumentDesk& documents_;
  InputPool& pool_;
  const ApiKeys& keys_;
};

}  // namespace longhand::api
