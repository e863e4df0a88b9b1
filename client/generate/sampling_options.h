// Flags about how tokens are drawn, which every verb that makes text has.
#pragma once

#include <cstdint>
#include <optional>

#include "longhand/v1/generation.pb.h"

namespace CLI {
class App;
}

namespace longhand::client {

// What is unset is the checkpoint's.
struct SamplingOptions {
  std::optional<double> temperature, top_p, min_p;
  std::optional<double> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
};

void AddSeedOption(CLI::App& app, SamplingOptions& options);
// All of them, the seed included.
void AddSamplingOptions(CLI::App& app, SamplingOptions& options);
void SetSampling(const SamplingOptions& options, v1::Sampling* sampling);

// False where the same prompt is known to give the same text again.
inline bool Draws(const SamplingOptions& options) { return options.temperature != 0.0; }

}  // namespace longhand::client
