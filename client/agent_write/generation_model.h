// A served model, asked over the public API.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "client/agent_write/document_writer.h"
#include "client/connection.h"
#include "client/generate/sampling_options.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::client {

// Main thread only. Sends each prompt as one user message: the text, then the pictures.
class GenerationModel final : public Model {
 public:
  // kNotFound when a picture cannot be read. With a seed, the n-th call has seed + n - 1.
  // A lost server is tried again for `retry_for`.
  static Result<GenerationModel> Create(const std::shared_ptr<grpc::Channel>& channel,
                                        const std::vector<std::string>& image_paths,
                                        const SamplingOptions& sampling,
                                        std::chrono::seconds retry_for);

  Result<Reply> Ask(const std::string& prompt, const OnPiece& on_piece) override;

 private:
  GenerationModel(std::shared_ptr<grpc::Channel> channel,
                  v1::GenerateRequest request,
                  std::chrono::seconds retry_for)
      : channel_(std::move(channel)), request_(std::move(request)), retry_for_(retry_for) {}

  std::shared_ptr<grpc::Channel> channel_;
  v1::GenerateRequest request_;  // of the next call, but for its text and id
  std::chrono::seconds retry_for_;
  bool was_answered_ = false;
};

}  // namespace longhand::client
