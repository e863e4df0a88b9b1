// The sampling fields of a request, checked, with the checkpoint's defaults filled in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/sampling_params.h"
#include "common/status.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

struct SamplingRequest {
  SamplingParams params;
  std::vector<TokenBias> biases;  // by rising id
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_token_ids;
  std::optional<int64_t> max_tokens;
  int64_t min_tokens = 0;
  uint32_t num_choices = 1;
  bool ignore_eos = false;
  bool repetition_guard = false;
};

// kInvalidArgument naming the first field out of range, what it was and what is allowed. An unset
// seed is `draw_seed()`.
Result<SamplingRequest> ParseSampling(const v1::Sampling& sampling,
                                      const v1::Return& wanted,
                                      const GenerationDefaults& defaults,
                                      int64_t vocab_size,
                                      const std::function<uint64_t()>& draw_seed);

// kInvalidArgument about `field` for the first id outside [0, end).
Status CheckTokenIds(const std::string& field, std::span<const int32_t> ids, int64_t end);

}  // namespace longhand::api
