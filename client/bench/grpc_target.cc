#include "client/bench/bench_target.h"
#include "common/request_id.h"
#include "longhand/v1/generation.grpc.pb.h"
#include "proto/grpc_status.h"

namespace longhand::client {
namespace {

v1::GenerateRequest WireRequest(const BenchRequest& request) {
  v1::GenerateRequest wire;
  wire.set_request_id(DrawRequestId("bench"));
  v1::ChatMessage* message = wire.mutable_messages()->add_messages();
  message->set_role("user");
  for (const Picture& image : *request.images) {
    message->add_content()->mutable_image();
    wire.add_images()->set_data(image.bytes);
  }
  message->add_content()->set_text(request.prompt);
  v1::Sampling* sampling = wire.mutable_sampling();
  sampling->set_max_tokens(request.max_tokens);
  sampling->set_seed(request.seed);
  sampling->set_ignore_eos(request.ignore_eos);
  if (request.temperature) sampling->set_temperature(static_cast<float>(*request.temperature));
  return wire;
}

class GrpcTarget final : public BenchTarget {
 public:
  GrpcTarget(const Endpoint& endpoint, std::chrono::seconds timeout)
      : stub_(v1::Generation::NewStub(Connect(endpoint))), timeout_(timeout) {}

  Result<BenchUsage> Ask(const BenchRequest& request, const OnPiece& on_piece) override {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout_);
    const auto reader = stub_->Generate(&context, WireRequest(request));
    BenchUsage usage;
    for (v1::GenerateEvent event; reader->Read(&event);) {
      if (!event.text().empty()) on_piece(event.text());
      if (event.has_usage())
        usage = {event.usage().prompt_tokens(), event.usage().completion_tokens()};
    }
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return FromGrpc(status);
    return usage;
  }

 private:
  const std::unique_ptr<v1::Generation::Stub> stub_;
  const std::chrono::seconds timeout_;
};

}  // namespace

std::unique_ptr<BenchTarget> MakeGrpcTarget(const Endpoint& endpoint,
                                            std::chrono::seconds timeout) {
  return std::make_unique<GrpcTarget>(endpoint, timeout);
}

}  // namespace longhand::client
