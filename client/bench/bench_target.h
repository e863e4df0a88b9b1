// BenchTarget: a server that is measured, over one of its protocols.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/connection.h"
#include "client/openai/openai_http.h"
#include "client/picture.h"
#include "common/status.h"

namespace longhand::client {

struct BenchRequest {
  std::string prompt;
  const std::vector<Picture>* images = nullptr;
  int64_t max_tokens = 0;
  std::optional<double> temperature;  // unset: the server's
  bool ignore_eos = false;
  uint64_t seed = 0;
};

struct BenchUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;  // 0: the server does not say
};

// One request at a time, in one thread; a target for each thread.
class BenchTarget {
 public:
  using OnPiece = std::function<void(std::string_view text)>;

  virtual ~BenchTarget() = default;
  // Calls `on_piece` with each piece of the answer when it comes, and returns when it is over.
  virtual Result<BenchUsage> Ask(const BenchRequest& request, const OnPiece& on_piece) = 0;
};

// POST /v1/chat/completions, streamed.
std::unique_ptr<BenchTarget> MakeOpenAiTarget(OpenAiAddress address);

// longhand.v1.Generation/Generate.
std::unique_ptr<BenchTarget> MakeGrpcTarget(const Endpoint& endpoint, std::chrono::seconds timeout);

}  // namespace longhand::client
