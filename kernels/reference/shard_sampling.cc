// Sampling where each rank has a part of the vocabulary.
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/join_shards.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/sampling_math.h"

namespace longhand::kernels::reference {
namespace {

// A row's logits after penalties.
std::vector<float> RowOf(const VocabShard& shard, int64_t row) {
  const float* logits = shard.logits.as<float>() + row * shard.logits.dim(1);
  std::vector<float> values(logits, logits + shard.num_ids);
  ApplyPenalties((*shard.rows)[static_cast<size_t>(row)], shard.history, shard.first_id,
                 shard.num_ids, values.data());
  return values;
}

// Keys by score of the tokens that can be drawn and that min_p leaves, the likeliest first.
std::vector<TokenKey> KeysOf(const VocabShard& shard, int64_t row, float largest) {
  const SamplingParams& params = *(*shard.rows)[static_cast<size_t>(row)].params;
  const double lowest =
      params.min_p > 0 ? std::log(double{params.min_p}) : -std::numeric_limits<double>::infinity();
  std::vector<TokenKey> keys;
  int64_t id = shard.first_id;
  for (const float value : RowOf(shard, row)) {
    const float score = (value - largest) / params.temperature;
    if (std::isfinite(score) && score >= lowest) keys.push_back(KeyOf(score, id));
    ++id;
  }
  std::sort(keys.begin(), keys.end(), std::greater<>());
  return keys;
}

void WriteWords(const VocabShard& shard, int64_t row, TokenKey likeliest, uint64_t* words) {
  std::fill_n(words, kShardWords, 0);
  const SampleRow& sample = (*shard.rows)[static_cast<size_t>(row)];
  const SamplingParams& params = *sample.params;
  const float largest = ValueOf(likeliest);
  if (params.temperature == 0 || !std::isfinite(largest)) return;
  const std::vector<TokenKey> keys = KeysOf(shard, row, largest);
  for (const TokenKey key : keys) {
    const TokenKey drawn = KeyOf(ValueOf(key) + Gumbel(sample.key, IdOf(key)), IdOf(key));
    if (drawn <= words[1]) continue;
    words[1] = drawn;
    words[2] = key;
  }
  const bool filters = (params.top_k > 0 && params.top_k < shard.vocab_size) || params.top_p < 1;
  if (!filters) return;
  for (const TokenKey key : keys) words[0] += MassOf(ValueOf(key));
  if (keys.size() > kShardCandidates) words[3] = keys[kShardCandidates - 1];
  std::copy_n(keys.begin(), std::min<size_t>(keys.size(), kShardCandidates), words + kShardHeader);
}

}  // namespace

Status ShardLikeliest(const ShardLikeliestArgs& args) {
  for (int64_t row = 0; row < args.likeliest.dim(0); ++row) {
    TokenKey likeliest = 0;
    int64_t id = args.shard.first_id;
    for (const float value : RowOf(args.shard, row)) {
      likeliest = std::max(likeliest, KeyOf(value, id++));
    }
    args.likeliest.as<int64_t>()[row] = static_cast<int64_t>(likeliest);
  }
  return OkStatus();
}

Status ShardCandidates(const ShardCandidatesArgs& args) {
  auto* words = reinterpret_cast<uint64_t*>(args.words.as<int64_t>());
  for (int64_t row = 0; row < args.words.dim(0); ++row) {
    WriteWords(args.shard, row, LikeliestOfRow(args.likeliest, row), words + row * kShardWords);
  }
  return OkStatus();
}

Status JoinShards(const JoinShardsArgs& args) {
  return JoinShardsOnHost(args, [](std::span<const float> scores, std::span<uint64_t> masses) {
    for (size_t i = 0; i < scores.size(); ++i) masses[i] = MassOf(scores[i]);
  });
}

}  // namespace longhand::kernels::reference
