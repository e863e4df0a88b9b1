#include "kernels/sampling_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace longhand::kernels {
namespace {

// The logits of some of the vocabulary's ids.
struct Logits {
  int64_t first_id;
  int64_t num_ids;
  float* values;

  // Null where the id is not among them.
  float* Find(int32_t token_id) const {
    const int64_t at = token_id - first_id;
    return at >= 0 && at < num_ids ? values + at : nullptr;
  }
};

// A row of a history.
int32_t* TokensOf(const SampleRow& row, const TensorView& history) {
  return history.as<int32_t>() + row.history_row * history.dim(1);
}

void AddBiases(const std::vector<TokenBias>& biases, const Logits& logits) {
  for (const TokenBias& bias : biases) {
    if (float* logit = logits.Find(bias.token_id)) *logit += bias.bias;
  }
}

// Divides positive logits and multiplies negative ones, once for each token that was seen.
void ApplyRepetitionPenalty(const SampleRow& row, const int32_t* tokens, const Logits& logits) {
  const float penalty = row.params->repetition_penalty;
  const std::unordered_set<int32_t> seen(tokens, tokens + row.prompt_len + row.output_len);
  for (int32_t id : seen) {
    float* logit = logits.Find(id);
    if (logit != nullptr) *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
  }
}

void ApplyCountPenalties(const SampleRow& row, const int32_t* tokens, const Logits& logits) {
  std::unordered_map<int32_t, int64_t> counts;
  for (int32_t i = 0; i < row.output_len; ++i) ++counts[tokens[row.prompt_len + i]];
  for (const auto& [id, count] : counts) {
    float* logit = logits.Find(id);
    if (logit == nullptr) continue;
    *logit -= row.params->frequency_penalty * static_cast<float>(count);
    *logit -= row.params->presence_penalty;
  }
}

void MaskOthers(const std::vector<uint32_t>& allowed, const Logits& logits) {
  for (int64_t i = 0; i < logits.num_ids; ++i) {
    const int64_t id = logits.first_id + i;
    const bool is_allowed = (allowed[static_cast<size_t>(id / 32)] >> (id % 32) & 1) != 0;
    if (!is_allowed) logits.values[i] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

void ApplyPenalties(const SampleRow& row,
                    const TensorView& history,
                    int64_t first_id,
                    int64_t num_ids,
                    float* logits) {
  const Logits all{first_id, num_ids, logits};
  if (row.biases != nullptr) AddBiases(*row.biases, all);
  if (row.params->HasPenalties()) {
    const int32_t* tokens = TokensOf(row, history);
    if (row.params->repetition_penalty != 1.0f) ApplyRepetitionPenalty(row, tokens, all);
    ApplyCountPenalties(row, tokens, all);
  }
  if (row.allowed != nullptr) MaskOthers(*row.allowed, all);
  if (row.suppressed_ids == nullptr) return;
  for (int32_t id : *row.suppressed_ids) {
    if (float* logit = all.Find(id)) *logit = -std::numeric_limits<float>::infinity();
  }
}

void AppendToken(const SampleRow& row, int32_t token_id, const TensorView& history) {
  if (row.history_row < 0) return;
  TokensOf(row, history)[row.prompt_len + row.output_len] = token_id;
}

uint64_t MassOf(float score) {
  if (score < kNoMass) return 0;
  return static_cast<uint64_t>(std::exp(double{score}) * kMassUnits + 0.5);
}

float Gumbel(const DrawKey& key, int32_t token_id) {
  const float u = std::max(UniformDraw(key, static_cast<uint32_t>(token_id)), 0x1.0p-25f);
  return static_cast<float>(-std::log(-std::log(static_cast<double>(u))));
}

}  // namespace longhand::kernels
