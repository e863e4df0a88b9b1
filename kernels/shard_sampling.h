// Sampling where each rank has a part of the vocabulary. Three operations, with a gather between the ranks behind the
// first and the second; the token is that of Sample() over all the logits, bit by bit:
//
//   ShardLikeliest    the likeliest of a rank's own tokens, by row
//   ShardCandidates   what a rank says of its tokens, now that the largest logit of all is known
//   JoinShards        on every rank alike: the token, or -1 where what was gathered does not prove it
//
// Nothing in it depends on how the vocabulary is cut: the largest logit is a comparison, a mass is an integer
// (kMassBits), and a draw is a function of the token's id.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"

namespace longhand::kernels {

struct SampleRow;

// A token as a number that is larger for the likelier one: its value's bits, ordered, then its id, inverted. 0 is none.
// -0 counts as 0, NaN as -infinity.
//
// What a rank says of a row, as words of 64 bits:
//
//   0   the mass of its tokens that min_p leaves: the sum of e^score, each with kMassBits after the point
//   1   the best draw of those, by noisy score
//   2   the same token by its score
//   3   its last candidate by score, if there are more tokens than candidates; else 0
//   4.. its likeliest tokens by score, the likeliest first; then zeros
//
// A score is (logit - largest logit) / temperature. Words 0 and 3.. are 0 for a row without top_k and top_p, all are
// where nothing is drawn.
inline constexpr int64_t kShardHeader = 4;
inline constexpr int64_t kShardCandidates = 124;
inline constexpr int64_t kShardWords = kShardHeader + kShardCandidates;
// Ranks whose words JoinShards takes.
inline constexpr int64_t kMaxShards = 32;

inline constexpr int kMassBits = 44;

// One rank's logits. Its ids are [first_id, first_id + num_ids); columns behind them are padding.
struct VocabShard {
  TensorView logits;  // [S, V] f32; not changed
  int64_t first_id = 0;
  int64_t num_ids = 0;     // 0 to V
  int64_t vocab_size = 0;  // of all ranks
  const std::vector<SampleRow>* rows = nullptr;  // as in SampleArgs
  TensorView history = {};                       // as in SampleArgs; not changed
};

struct ShardLikeliestArgs {
  VocabShard shard;
  TensorView likeliest;  // out: [S] i64 token keys by logit, after penalties
};

// Comes right after ShardLikeliest of the same shard.
struct ShardCandidatesArgs {
  VocabShard shard;
  TensorView likeliest;  // [ranks, S] i64: of all ranks
  TensorView words;      // out: [S, kShardWords] i64
};

struct JoinShardsArgs {
  TensorView likeliest;  // [ranks, S] i64
  TensorView words;      // [ranks, S, kShardWords] i64
  int64_t vocab_size = 0;
  const std::vector<SampleRow>* rows = nullptr;  // as in SampleArgs
  TensorView token_ids;     // out: [S] i32
  TensorView history = {};  // as in SampleArgs
};

}  // namespace longhand::kernels
