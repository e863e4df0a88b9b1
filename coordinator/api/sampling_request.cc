#include "coordinator/api/sampling_request.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "common/step_plan.h"

namespace longhand::api {
namespace {

constexpr int kMaxStopStrings = 16;
constexpr size_t kMaxStopBytes = 256;
constexpr int kMaxStopTokenIds = 64;
constexpr uint32_t kMaxChoices = 16;

// NaN is in no range.
Status CheckRange(const std::string& field, float value, float low, float high) {
  if (value >= low && value <= high) return OkStatus();
  return InvalidField(field, " is ", value, "; it must be from ", low, " to ", high);
}

Status CheckFilters(const SamplingParams& p) {
  if (!(p.temperature >= 0) || std::isinf(p.temperature)) {
    return InvalidField("temperature", " is ", p.temperature,
                        "; it must be a number of at least 0");
  }
  LONGHAND_RETURN_IF_ERROR(CheckRange("top_p", p.top_p, 0, 1));
  if (p.top_k < 0)
    return InvalidField("top_k", " is ", p.top_k, "; it must be at least 0 (0 is off)");
  LONGHAND_RETURN_IF_ERROR(CheckRange("min_p", p.min_p, 0, 1));
  if (!(p.repetition_penalty > 0 && p.repetition_penalty <= 10)) {
    return InvalidField("repetition_penalty", " is ", p.repetition_penalty,
                        "; it must be above 0 and at most 10");
  }
  LONGHAND_RETURN_IF_ERROR(CheckRange("presence_penalty", p.presence_penalty, -2, 2));
  return CheckRange("frequency_penalty", p.frequency_penalty, -2, 2);
}

Status CheckStops(const v1::Sampling& sampling, int64_t vocab_size) {
  if (sampling.stop_size() > kMaxStopStrings) {
    return InvalidField("stop", " has ", sampling.stop_size(), " strings; at most ",
                        kMaxStopStrings, " are allowed");
  }
  for (const std::string& stop : sampling.stop()) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return InvalidArgument("a stop string has ", stop.size(), " bytes; it must have 1 to ",
                             kMaxStopBytes)
          .About("stop");
    }
  }
  if (sampling.stop_token_ids_size() > kMaxStopTokenIds) {
    return InvalidField("stop_token_ids", " has ", sampling.stop_token_ids_size(), " ids; at most ",
                        kMaxStopTokenIds, " are allowed");
  }
  const auto& ids = sampling.stop_token_ids();
  return CheckTokenIds("stop_token_ids", {ids.data(), static_cast<size_t>(ids.size())}, vocab_size);
}

Result<std::vector<TokenBias>> ParseBiases(const v1::Sampling& sampling, int64_t vocab_size) {
  if (sampling.logit_bias_size() > kMaxTokenBiases) {
    return InvalidField("logit_bias", " has ", sampling.logit_bias_size(), " tokens; at most ",
                        kMaxTokenBiases, " are allowed");
  }
  std::vector<TokenBias> biases;
  for (const auto& [id, bias] : sampling.logit_bias()) biases.push_back({id, bias});
  std::ranges::sort(biases, {}, &TokenBias::token_id);
  for (const TokenBias& bias : biases) {
    if (bias.token_id < 0 || bias.token_id >= vocab_size) {
      return InvalidField("logit_bias", " has a bias of token ", bias.token_id,
                          "; ids must be from 0 to ", vocab_size - 1);
    }
    const std::string field = "logit_bias of token " + std::to_string(bias.token_id);
    LONGHAND_RETURN_IF_ERROR(
        CheckRange(field, bias.bias, -kMaxTokenBias, kMaxTokenBias).About("logit_bias"));
  }
  return biases;
}

Status CheckLengths(const v1::Sampling& sampling) {
  if (sampling.has_max_tokens() && sampling.max_tokens() < 0) {
    return InvalidField("max_tokens", " is ", sampling.max_tokens(), "; it must be at least 0");
  }
  if (sampling.min_tokens() < 0) {
    return InvalidField("min_tokens", " is ", sampling.min_tokens(), "; it must be at least 0");
  }
  if (sampling.has_max_tokens() && sampling.min_tokens() > sampling.max_tokens()) {
    return InvalidField("min_tokens", " is ", sampling.min_tokens(),
                        "; it must be at most max_tokens, which is ", sampling.max_tokens());
  }
  if (sampling.has_n() && (sampling.n() < 1 || sampling.n() > kMaxChoices)) {
    return InvalidField("n", " is ", sampling.n(), "; it must be from 1 to ", kMaxChoices);
  }
  return OkStatus();
}

}  // namespace

Result<SamplingRequest> ParseSampling(const v1::Sampling& sampling,
                                      const v1::Return& wanted,
                                      const GenerationDefaults& defaults,
                                      int64_t vocab_size,
                                      const std::function<uint64_t()>& draw_seed) {
  SamplingRequest out;
  SamplingParams& p = out.params;
  p.temperature = sampling.has_temperature() ? sampling.temperature()
                  : defaults.do_sample       ? defaults.temperature
                                             : 0.0f;
  p.top_p = sampling.has_top_p() ? sampling.top_p() : defaults.top_p;
  p.top_k = sampling.has_top_k() ? sampling.top_k() : defaults.top_k;
  p.min_p = sampling.min_p();
  p.repetition_penalty = sampling.has_repetition_penalty() ? sampling.repetition_penalty()
                                                           : defaults.repetition_penalty;
  p.presence_penalty = sampling.presence_penalty();
  p.frequency_penalty = sampling.frequency_penalty();
  p.num_logprobs = wanted.has_logprobs() ? wanted.logprobs() : -1;
  LONGHAND_RETURN_IF_ERROR(CheckFilters(p));
  LONGHAND_RETURN_IF_ERROR(CheckStops(sampling, vocab_size));
  LONGHAND_RETURN_IF_ERROR(CheckLengths(sampling));
  LONGHAND_ASSIGN_OR_RETURN(out.biases, ParseBiases(sampling, vocab_size));
  if (wanted.has_logprobs() && (wanted.logprobs() < 0 || wanted.logprobs() > kMaxTopLogprobs)) {
    return InvalidField("logprobs", " is ", wanted.logprobs(), "; it must be from 0 to ",
                        kMaxTopLogprobs);
  }
  // OpenAI's range has it. Of the likeliest tokens that together have no mass at all, one is left.
  if (p.top_p == 0) {
    p.temperature = 0;
    p.top_p = 1;
  }
  p.seed = sampling.has_seed() ? sampling.seed() : draw_seed();
  out.stop_token_ids.assign(sampling.stop_token_ids().begin(), sampling.stop_token_ids().end());
  out.stop_strings.assign(sampling.stop().begin(), sampling.stop().end());
  if (sampling.has_max_tokens()) out.max_tokens = sampling.max_tokens();
  out.min_tokens = sampling.min_tokens();
  if (sampling.has_n()) out.num_choices = sampling.n();
  out.ignore_eos = sampling.ignore_eos();
  out.repetition_guard = sampling.repetition_guard();
  return out;
}

Status CheckTokenIds(const std::string& field, std::span<const int32_t> ids, int64_t end) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= end)
      return InvalidField(field, " holds ", id, "; ids must be from 0 to ", end - 1);
  }
  return OkStatus();
}

}  // namespace longhand::api
