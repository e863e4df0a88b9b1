#include "kernels/sampling_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace longhand::kernels {
namespace {

bool InVocabulary(int32_t token_id, int64_t vocab_size) {
  return token_id >= 0 && token_id < vocab_size;
}

// Divides positive logits and multiplies negative ones, once for each token that was seen.
void ApplyRepetitionPenalty(const SampleRow& row, int64_t vocab_size, float* logits) {
  const float penalty = row.params->repetition_penalty;
  std::unordered_set<int32_t> seen(row.prompt_token_ids->begin(), row.prompt_token_ids->end());
  seen.insert(row.output_token_ids->begin(), row.output_token_ids->end());
  for (int32_t id : seen) {
    if (!InVocabulary(id, vocab_size)) continue;
    logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  }
}

void ApplyCountPenalties(const SampleRow& row, int64_t vocab_size, float* logits) {
  std::unordered_map<int32_t, int64_t> counts;
  for (int32_t id : *row.output_token_ids) ++counts[id];
  for (const auto& [id, count] : counts) {
    if (!InVocabulary(id, vocab_size)) continue;
    logits[id] -= row.params->frequency_penalty * static_cast<float>(count);
    logits[id] -= row.params->presence_penalty;
  }
}

}  // namespace

void ApplyPenalties(const SampleRow& row, int64_t vocab_size, float* logits) {
  if (row.params->HasPenalties()) {
    if (row.params->repetition_penalty != 1.0f) ApplyRepetitionPenalty(row, vocab_size, logits);
    ApplyCountPenalties(row, vocab_size, logits);
  }
  if (!row.suppress_stop_ids) return;
  for (int32_t id : row.params->stop_token_ids) {
    if (InVocabulary(id, vocab_size)) logits[id] = -std::numeric_limits<float>::infinity();
  }
}

float Gumbel(const DrawKey& key, int32_t token_id) {
  const float u = std::max(UniformDraw(key, static_cast<uint32_t>(token_id)), 0x1.0p-25f);
  return static_cast<float>(-std::log(-std::log(static_cast<double>(u))));
}

}  // namespace longhand::kernels
