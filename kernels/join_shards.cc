#include "kernels/join_shards.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/sampling_math.h"

namespace longhand::kernels {
namespace {

// All ranks' candidates of a row, and what bounds the rest.
struct Joined {
  uint64_t mass = 0;
  TokenKey drawn = 0, drawn_by_score = 0;
  TokenKey bound = 0;           // tokens that are nobody's candidate come after it
  std::vector<TokenKey> known;  // candidates down to the bound: all tokens that there are, in order
};

Joined Join(std::span<const uint64_t* const> words) {
  Joined joined;
  for (const uint64_t* rank : words) {
    joined.mass += rank[0];
    if (rank[1] > joined.drawn) {
      joined.drawn = rank[1];
      joined.drawn_by_score = rank[2];
    }
    joined.bound = std::max(joined.bound, rank[3]);
    joined.known.insert(joined.known.end(), rank + kShardHeader, rank + kShardWords);
  }
  std::erase_if(joined.known, [&](TokenKey key) { return key == 0 || key < joined.bound; });
  std::sort(joined.known.begin(), joined.known.end(), std::greater<>());
  return joined;
}

int32_t BestDraw(const DrawKey& draw, std::span<const TokenKey> keys) {
  TokenKey best = 0;
  for (const TokenKey key : keys) {
    best = std::max(best, KeyOf(ValueOf(key) + Gumbel(draw, IdOf(key)), IdOf(key)));
  }
  return IdOf(best);
}

}  // namespace

int32_t JoinShardsOfRow(const SampleRow& row,
                        int64_t vocab_size,
                        TokenKey likeliest,
                        std::span<const uint64_t* const> words,
                        const MassesOf& masses_of) {
  const SamplingParams& params = *row.params;
  if (params.temperature == 0 || !std::isfinite(ValueOf(likeliest))) return IdOf(likeliest);
  const Joined joined = Join(words);
  const bool by_count = params.top_k > 0 && params.top_k < vocab_size;
  const bool by_mass = params.top_p < 1;
  if (!by_count && !by_mass) return IdOf(joined.drawn);

  // The kept tokens are the first `count` of the known ones; more than those unless `is_closed`.
  size_t count = joined.known.size();
  bool is_closed = joined.bound == 0;
  if (by_count && count >= static_cast<size_t>(params.top_k)) {
    count = static_cast<size_t>(params.top_k);
    is_closed = true;
  }
  if (by_mass) {
    // What the filter takes a share of.
    if (by_count && !is_closed) return -1;
    std::vector<float> scores;
    for (size_t i = 0; i < count; ++i) scores.push_back(ValueOf(joined.known[i]));
    std::vector<uint64_t> masses(count);
    masses_of(scores, masses);
    uint64_t total = joined.mass;
    if (by_count) {
      total = 0;
      for (const uint64_t mass : masses) total += mass;
    }
    const double goal = double{params.top_p} * static_cast<double>(total);
    uint64_t sum = 0;
    size_t kept = 0;
    while (kept < count && static_cast<double>(sum) < goal) sum += masses[kept++];
    is_closed = is_closed || static_cast<double>(sum) >= goal;
    count = kept;
  }
  if (is_closed) return BestDraw(row.key, {joined.known.data(), count});
  // All that is known is kept: the best draw of all tokens is that of the kept ones if it is known.
  return joined.drawn_by_score >= joined.bound ? IdOf(joined.drawn) : -1;
}

TokenKey LikeliestOfRow(const TensorView& likeliest, int64_t row) {
  TokenKey best = 0;
  for (int64_t r = 0; r < likeliest.dim(0); ++r) {
    const int64_t key = likeliest.as<int64_t>()[r * likeliest.dim(1) + row];
    best = std::max(best, static_cast<TokenKey>(key));
  }
  return best;
}

Status JoinShardsOnHost(const JoinShardsArgs& args, const MassesOf& masses_of) {
  const int64_t num_ranks = args.likeliest.dim(0), num_rows = args.likeliest.dim(1);
  std::vector<const uint64_t*> words(static_cast<size_t>(num_ranks));
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t r = 0; r < num_ranks; ++r) {
      words[static_cast<size_t>(r)] = reinterpret_cast<const uint64_t*>(args.words.as<int64_t>()) +
                                      (r * num_rows + row) * kShardWords;
    }
    const SampleRow& sample = (*args.rows)[static_cast<size_t>(row)];
    const int32_t token_id = JoinShardsOfRow(sample, args.vocab_size,
                                             LikeliestOfRow(args.likeliest, row), words, masses_of);
    args.token_ids.as<int32_t>()[row] = token_id;
    AppendToken(sample, token_id, args.history);
  }
  return OkStatus();
}

}  // namespace longhand::kernels
