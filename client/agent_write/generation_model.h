// A served model, asked over the public API.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "client/agent_write/document_writer.h"
#include "client/generate/sampling_options.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::client {

// Main thread only. Sends each prompt as one user message: the text, then the pictures.
class GenerationModel final : public Model {
 public:
  // kNotFound when a picture cannot be read. With a seed, the n-th call has seed + n - 1.
  static Result<GenerationModel> Create(const std::shared_ptr<grpc::Channel>& channel,
                                        const std::vector<std::string>& image_paths,
                                        const SamplingOptions& sampling);

  Result<Reply> Ask(const std::string& prompt, const OnPiece& on_piece) override;

 private:
  GenerationModel(const std::shared_ptr<grpc::Channel>& channel, v1::GenerateRequest request)
      : stub_(v1::Generation::NewStub(channel)), request_(std::move(request)) {}

  std::unique_ptr<v1::Generation::Stub> stub_;
  v1::GenerateRequest request_;  // of the next call, but for its text
};

}  // namespace longhand::client
