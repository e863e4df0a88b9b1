// The Generation service: gRPC's edge of the engine.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "coordinator/api/event_stream.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/stream_call.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/engine/engine.h"
#include "coordinator/journal/journal.h"
#include "longhand/v1/generation.grpc.pb.h"
#include "shim/tokenizer.h"

namespace longhand::api {

// Any gRPC thread; work on prompts is handed to the input pool.
class GenerationService final : public v1::Generation::CallbackService {
 public:
  struct Parts {
    const RequestPreparer& preparer;
    const shim::Tokenizer& tokenizer;
    engine::Engine& engine;
    InputPool& pool;
    StreamTable& streams;
    journal::Journal* journal = nullptr;  // none: nothing is kept
    std::filesystem::path journal_directory;
    // Bytes of requests that may be held while their pictures are decoded.
    int64_t max_bytes_in_preparation = 0;
  };
  explicit GenerationService(Parts parts) : parts_(parts) {}

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
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
  struct CallIdentity {
    std::string request_id;  // which two clients may choose alike
    int64_t call = 0;        // which is this call's alone
    TimePoint deadline;
  };

  Result<std::string> ChooseRequestId(const std::string& asked);
  // On an input thread: the stream of the request, from here or from the journal, or a new one.
  void FollowOrBegin(StreamCall& call,
                     const v1::GenerateRequest& wire,
                     const CallIdentity& identity);
  Status BeginRequest(const std::shared_ptr<EventStream>& stream,
                      const v1::GenerateRequest& wire,
                      const CallIdentity& identity);
  Status PrepareAndSubmit(const std::shared_ptr<EventStream>& stream,
                          const v1::GenerateRequest& wire,
                          const CallIdentity& identity);
  // Whether the journal has the request, ended; then the stream is filled with it.
  Result<bool> FillFromJournal(EventStream& stream) const;
  void AttachToKept(StreamCall& call, const v1::AttachRequest& request) const;
  Status RunTokenize(const v1::TokenizeRequest& request, v1::TokenizeResponse* response) const;
  Status RunDetokenize(const v1::DetokenizeRequest& request,
                       v1::DetokenizeResponse* response) const;
  void RunOnPool(grpc::ServerUnaryReactor* reactor, std::function<Status()> work);

  const Parts parts_;
  std::atomic<int64_t> bytes_in_preparation_ = 0;
  std::atomic<int64_t> num_calls_ = 0;
};

}  // namespace longhand::api
