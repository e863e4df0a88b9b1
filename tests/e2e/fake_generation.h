// FakeGeneration: the public API with answers that a test wrote, for what random weights never say.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::e2e {

class FakeGeneration final : public v1::Generation::Service {
 public:
  // The n-th request gets the n-th answer, a token for every character; UNAVAILABLE after the last.
  explicit FakeGeneration(std::vector<std::string> answers,
                          const std::string& address = "127.0.0.1:0");
  ~FakeGeneration() override;

  const std::string& address() const { return address_; }
  std::vector<v1::GenerateRequest> requests();

  grpc::Status Generate(grpc::ServerContext* context,
                        const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateEvent>* writer) override;

 private:
  const std::vector<std::string> answers_;
  std::mutex mutex_;
  std::vector<v1::GenerateRequest> requests_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace longhand::e2e
