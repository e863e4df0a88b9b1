// Sampling and log-probabilities.
//
// top_p keeps the smallest set of the likeliest tokens whose mass, among the tokens that min_p and
// top_k left, reaches top_p; top_k keeps exactly k. Ties go to the lower id. Masses are fixed-point
// numbers, so that their sums do not depend on an order.
#include "kernels/reference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/host_checks.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/sampling_math.h"

namespace longhand::kernels::reference {
namespace {

bool Likelier(const KeptToken& a, const KeptToken& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// p >= min_p * largest p, in logarithms.
void KeepMinP(float min_p, std::vector<KeptToken>& tokens) {
  const double lowest = std::log(double{min_p});
  std::erase_if(tokens, [&](const KeptToken& token) { return !(token.score >= lowest); });
}

void KeepTopP(float top_p, std::vector<KeptToken>& tokens) {
  uint64_t total = 0;
  for (const KeptToken& token : tokens) total += MassOf(token.score);
  const double goal = double{top_p} * static_cast<double>(total);
  uint64_t sum = 0;
  size_t count = 0;
  while (count < tokens.size() && static_cast<double>(sum) < goal) {
    sum += MassOf(tokens[count++].score);
  }
  tokens.resize(count);
}

}  // namespace

std::vector<KeptToken> KeptTokens(const float* logits,
                                  int64_t vocab_size,
                                  const SampleRow& row,
                                  const TensorView& history) {
  const SamplingParams& params = *row.params;
  std::vector<float> values(logits, logits + vocab_size);
  ApplyPenalties(row, history, /*first_id=*/0, vocab_size, values.data());
  for (float& value : values) {
    if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
  }
  const auto best = std::max_element(values.begin(), values.end());
  if (params.temperature == 0 || !std::isfinite(*best)) {
    return {{static_cast<int32_t>(best - values.begin()), 0.0f}};
  }
  std::vector<KeptToken> tokens;
  for (int64_t id = 0; id < vocab_size; ++id) {
    const float score = (values[id] - *best) / params.temperature;
    if (std::isfinite(score)) tokens.push_back({static_cast<int32_t>(id), score});
  }
  if (params.min_p > 0) KeepMinP(params.min_p, tokens);
  std::sort(tokens.begin(), tokens.end(), Likelier);
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < tokens.size()) {
    tokens.resize(static_cast<size_t>(params.top_k));
  }
  if (params.top_p < 1) KeepTopP(params.top_p, tokens);
  return tokens;
}

std::vector<float> SamplingDistribution(const float* logits,
                                        int64_t vocab_size,
                                        const SampleRow& row,
                                        const TensorView& history) {
  const std::vector<KeptToken> tokens = KeptTokens(logits, vocab_size, row, history);
  double total = 0;
  for (const KeptToken& token : tokens) total += std::exp(double{token.score});
  std::vector<float> probabilities(static_cast<size_t>(vocab_size), 0.0f);
  for (const KeptToken& token : tokens) {
    probabilities[token.id] = static_cast<float>(std::exp(double{token.score}) / total);
  }
  return probabilities;
}

Status Sample(const SampleArgs& args) {
  const int64_t vocab_size = args.logits.dim(1);
  for (int64_t i = 0; i < args.logits.dim(0); ++i) {
    const SampleRow& row = (*args.rows)[i];
    KeptToken best{.id = -1, .score = -std::numeric_limits<float>::infinity()};
    for (const KeptToken& token :
         KeptTokens(args.logits.as<float>() + i * vocab_size, vocab_size, row, args.history)) {
      const KeptToken drawn{token.id, token.score + Gumbel(row.key, token.id)};
      if (Likelier(drawn, best)) best = drawn;
    }
    args.token_ids.as<int32_t>()[i] = best.id;
    AppendToken(row, best.id, args.history);
  }
  return OkStatus();
}

Status Logprobs(const LogprobsArgs& args) {
  const int64_t vocab_size = args.logits.dim(1);
  LONGHAND_RETURN_IF_ERROR(CheckIndices("token_ids", args.token_ids, vocab_size));
  const int64_t k = args.top_ids.rank() == 0 ? 0 : args.top_ids.dim(1);
  for (int64_t i = 0; i < args.logits.dim(0); ++i) {
    const float* logits = args.logits.as<float>() + i * vocab_size;
    const double max = *std::max_element(logits, logits + vocab_size);
    double total = 0;
    for (int64_t id = 0; id < vocab_size; ++id) total += std::exp(logits[id] - max);
    const double log_total = max + std::log(total);
    const int32_t token_id = args.token_ids.as<int32_t>()[i];
    args.logprobs.as<float>()[i] = static_cast<float>(logits[token_id] - log_total);
    if (k == 0) continue;
    std::vector<KeptToken> tokens;
    for (int64_t id = 0; id < vocab_size; ++id) {
      tokens.push_back({static_cast<int32_t>(id), logits[id]});
    }
    std::partial_sort(tokens.begin(), tokens.begin() + k, tokens.end(), Likelier);
    for (int64_t j = 0; j < k; ++j) {
      args.top_ids.as<int32_t>()[i * k + j] = tokens[j].id;
      args.top_logprobs.as<float>()[i * k + j] = static_cast<float>(tokens[j].score - log_total);
    }
  }
  return OkStatus();
}

}  // namespace longhand::kernels::reference
