// ChatModel: a served model that is asked one question at a time, over one of its protocols.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "client/generate/sampling_options.h"
#include "client/openai/openai_http.h"
#include "client/picture.h"
#include "common/status.h"

namespace longhand::client {

// One user message: the text, then the pictures, as LongWriter-V's own scripts ask.
struct ChatQuestion {
  std::string text;
  const std::vector<Picture>* pictures = nullptr;  // null: none
  SamplingOptions sampling;                        // what is unset is the server's
  int64_t target_words = 0;                        // that our server holds the answer to; 0: none
  bool wants_document = false;  // plan, then sections, by our server over gRPC; max_tokens is unset
};

struct ChatReply {
  std::string text;
  std::string refusal;        // of the model; then there is no text
  std::string finish_reason;  // "stop", "length"
  int64_t completion_tokens = 0;
};

// One thread; a model for each.
class ChatModel {
 public:
  virtual ~ChatModel() = default;
  virtual Result<ChatReply> Ask(const ChatQuestion& question) = 0;
};

// longhand.v1.Generation/Generate; lost connections and restarts are healed for `retry_for`.
std::unique_ptr<ChatModel> MakeGrpcChat(std::shared_ptr<grpc::Channel> channel,
                                        std::chrono::seconds retry_for);
// POST /v1/chat/completions. `has_extensions`: vLLM's sampling fields are sent, where they are set.
std::unique_ptr<ChatModel> MakeOpenAiChat(OpenAiAddress address, bool has_extensions);

}  // namespace longhand::client
