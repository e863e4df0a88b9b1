// Sampling where each rank has a part of the vocabulary.
//
//   logits     [S, V]               f32
//   likeliest  [S], [ranks, S]      i64
//   words      [S, kShardWords]     i64
//   token_ids  [S]                  i32
//
// Threads    one row each; the join is one thread's.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/token_buckets.h"
#include "kernels/join_shards.h"

namespace longhand::kernels::cpu {
namespace {

// A row's logits after penalties.
void CopyRow(const CpuContext& cpu, const VocabShard& shard, int64_t row, float* values) {
  cpu.rows.copy_numbers(shard.logits.as<float>() + row * shard.logits.dim(1), shard.num_ids,
                        values);
  ApplyPenalties((*shard.rows)[static_cast<size_t>(row)], shard.history, shard.first_id,
                 shard.num_ids, values);
}

// Takes away what min_p or infinity removes; returns how many tokens are left.
int64_t KeepDrawable(const SamplingParams& params, int64_t num_ids, float* scores, float* weights) {
  const double lowest =
      params.min_p > 0 ? std::log(double{params.min_p}) : -std::numeric_limits<double>::infinity();
  int64_t num_left = 0;
  for (int64_t i = 0; i < num_ids; ++i) {
    if (std::isfinite(scores[i]) && scores[i] >= lowest) {
      ++num_left;
    } else {
      scores[i] = -std::numeric_limits<float>::infinity();
      weights[i] = 0;
    }
  }
  return num_left;
}

// Words 1 and 2.
void WriteDraw(const DrawKey& draw, const float* scores, const VocabShard& shard, uint64_t* words) {
  float bound = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < shard.num_ids; ++i) {
    // Spares the noise of tokens that it cannot lift above the best.
    if (!std::isfinite(scores[i]) || scores[i] + kMaxGumbel < bound) continue;
    const int64_t id = shard.first_id + i;
    const TokenKey drawn = KeyOf(scores[i] + Gumbel(draw, static_cast<int32_t>(id)), id);
    if (drawn <= words[1]) continue;
    words[1] = drawn;
    words[2] = KeyOf(scores[i], id);
    bound = ValueOf(drawn);
  }
}

// Word 0, and those from 3 on.
void WriteCandidates(const Row& row, int64_t num_left, int64_t first_id, uint64_t* words) {
  const Buckets buckets(row);
  words[0] = buckets.total_mass();
  Buckets::Head head = buckets.Take(kShardCandidates, 0);
  std::sort(head.tokens.begin(), head.tokens.end(), Likelier);
  const size_t count = std::min<size_t>(head.tokens.size(), kShardCandidates);
  for (size_t i = 0; i < count; ++i) {
    words[kShardHeader + i] = KeyOf(head.tokens[i].score, first_id + head.tokens[i].id);
  }
  if (num_left > kShardCandidates) words[3] = words[kShardWords - 1];
}

void WriteWords(const CpuContext& cpu,
                const ShardCandidatesArgs& args,
                int64_t row,
                float* memory) {
  const VocabShard& shard = args.shard;
  auto* words = reinterpret_cast<uint64_t*>(args.words.as<int64_t>()) + row * kShardWords;
  std::fill_n(words, kShardWords, 0);
  const SampleRow& sample = (*shard.rows)[static_cast<size_t>(row)];
  const SamplingParams& params = *sample.params;
  const float largest = ValueOf(LikeliestOfRow(args.likeliest, row));
  if (params.temperature == 0 || !std::isfinite(largest)) return;
  float* scores = memory;
  float* weights = memory + shard.num_ids;
  CopyRow(cpu, shard, row, scores);
  cpu.rows.scores(largest, params.temperature, shard.num_ids, scores, weights);
  const int64_t num_left = KeepDrawable(params, shard.num_ids, scores, weights);
  WriteDraw(sample.key, scores, shard, words);
  if ((params.top_k > 0 && params.top_k < shard.vocab_size) || params.top_p < 1) {
    WriteCandidates({scores, weights, shard.num_ids}, num_left, shard.first_id, words);
  }
}

}  // namespace

Status ShardLikeliest(CpuContext& cpu, const ShardLikeliestArgs& args) {
  const VocabShard& shard = args.shard;
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(shard.num_ids));
  cpu.pool.Run(shard.logits.dim(0), [&](int64_t row, int thread) {
    float* values = cpu.thread_scratch[static_cast<size_t>(thread)].floats();
    CopyRow(cpu, shard, row, values);
    const float largest = cpu.rows.max(values, shard.num_ids);
    const float* at = std::find(values, values + shard.num_ids, largest);
    const TokenKey key = shard.num_ids == 0 ? 0 : KeyOf(largest, shard.first_id + (at - values));
    args.likeliest.as<int64_t>()[row] = static_cast<int64_t>(key);
  });
  return OkStatus();
}

Status ShardCandidates(CpuContext& cpu, const ShardCandidatesArgs& args) {
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(2 * args.shard.num_ids));
  cpu.pool.Run(args.shard.logits.dim(0), [&](int64_t row, int thread) {
    WriteWords(cpu, args, row, cpu.thread_scratch[static_cast<size_t>(thread)].floats());
  });
  return OkStatus();
}

Status JoinShards(CpuContext& cpu, const JoinShardsArgs& args) {
  std::vector<float> same, weights;
  return JoinShardsOnHost(args, [&](std::span<const float> scores, std::span<uint64_t> masses) {
    // A score is its own score at temperature 1, and the same function then gives the same weight.
    same.assign(scores.begin(), scores.end());
    weights.resize(scores.size());
    cpu.rows.scores(/*max=*/0, /*temperature=*/1, static_cast<int64_t>(scores.size()), same.data(),
                    weights.data());
    for (size_t i = 0; i < scores.size(); ++i) masses[i] = MassOfWeight(weights[i]);
  });
}

}  // namespace longhand::kernels::cpu
