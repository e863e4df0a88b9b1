// Server reflection, version 1. gRPC 1.51 has v1alpha only; grpcurl and others ask for v1 first.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"

namespace longhand::api {

// Answers from the generated descriptors. Immutable: any gRPC thread.
class ReflectionService final : public grpc::reflection::v1::ServerReflection::CallbackService {
 public:
  // Full names of the services that the server has.
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {}

  grpc::ServerBidiReactor<grpc::reflection::v1::ServerReflectionRequest,
                          grpc::reflection::v1::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override;

  grpc::reflection::v1::ServerReflectionResponse Answer(
      const grpc::reflection::v1::ServerReflectionRequest& request) const;

 private:
  const std::vector<std::string> services_;
};

}  // namespace longhand::api
