// The flags of `longhand generate`, and the request they make.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/connection.h"
#include "client/generate/sampling_options.h"
#include "common/status.h"
#include "longhand/v1/generation.pb.h"

namespace CLI {
class App;
}

namespace longhand::client {

struct GenerateOptions {
  Endpoint endpoint;
  std::string model;  // or an adapter; empty: the server's
  std::string prompt;
  std::vector<std::string> images;
  std::string messages_file;
  std::string raw_text;  // --text: no chat template
  SamplingOptions sampling;
  std::optional<int32_t> logprobs;
  std::optional<int32_t> prompt_logprobs;
  std::optional<int64_t> min_tokens;
  std::optional<uint32_t> n;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  std::vector<std::string> logit_biases;  // ID=VALUE
  std::optional<int64_t> target_words;
  std::string repetition_guard = "off";
  std::string json_schema_file;
  std::string regex;
  int32_t priority = 0;
  std::string cache_salt;
  std::string request_id;  // empty: drawn
  std::string on_disconnect = "continue";
  std::chrono::seconds retry_for = kRetryFor;
  bool json = false;
};

void AddGenerateOptions(CLI::App& app, GenerateOptions& options);

// kInvalidArgument when the prompt is not given in exactly one way; errors of the files it reads.
Result<v1::GenerateRequest> MakeRequest(const GenerateOptions& options);

}  // namespace longhand::client
