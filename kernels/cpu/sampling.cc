// Sampling and log-probabilities, without sorting the vocabulary.
//
//   logits     [num_seqs, vocab_size]  f32
//   token_ids  [num_seqs]              i32
//
// Scores are (logit - largest) / temperature. They are counted into buckets of equal width, which
// tells where top_k and top_p cut; only the bucket of a cut is sorted. A NaN logit counts as
// -infinity; where the largest logit is not finite, its lowest id is taken.
//
// Threads    one row each.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"
#include "kernels/sampling_math.h"

namespace longhand::kernels::cpu {
namespace {

struct Token {
  int32_t id;
  float score;
};

bool Likelier(const Token& a, const Token& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// Scores of one row, in scratch, and e^score of each.
struct Row {
  const float* scores;
  const float* weights;
  int64_t vocab_size;
};

// The likeliest tokens up to a cut, by buckets: bucket b holds scores in (-(b + 1) / 32, -b / 32],
// the last one all that is lower.
class Buckets {
 public:
  explicit Buckets(const Row& row) : row_(row) {
    for (int64_t id = 0; id < row.vocab_size; ++id) {
      const int b = BucketOf(row.scores[id]);
      ++counts_[b];
      masses_[b] += row.weights[id];
    }
  }

  double total_mass() const {
    double total = 0;
    for (double mass : masses_) total += mass;
    return total;
  }

  // All tokens of the buckets until they hold `count` tokens and `mass`; the tokens of the last
  // bucket are sorted, as it is the only one that a cut can split. `before` and `mass_before` say
  // how many tokens, and how much, precede it.
  struct Head {
    std::vector<Token> tokens;
    size_t before = 0;
    double mass_before = 0;
  };
  Head Take(int64_t count, double mass) const {
    Head head;
    int64_t num_tokens = counts_[0];
    double sum = masses_[0];
    int last = 0;
    while (last + 1 < kBuckets && (num_tokens < count || sum < mass)) {
      ++last;
      num_tokens += counts_[last];
      sum += masses_[last];
    }
    head.mass_before = sum - masses_[last];
    std::vector<Token> in_last;
    head.tokens.reserve(static_cast<size_t>(num_tokens));
    for (int64_t id = 0; id < row_.vocab_size; ++id) {
      const int b = BucketOf(row_.scores[id]);
      if (b > last || !std::isfinite(row_.scores[id])) continue;
      (b < last ? head.tokens : in_last).push_back({static_cast<int32_t>(id), row_.scores[id]});
    }
    head.before = head.tokens.size();
    std::sort(in_last.begin(), in_last.end(), Likelier);
    head.tokens.insert(head.tokens.end(), in_last.begin(), in_last.end());
    return head;
  }

 private:
  static constexpr int kBuckets = 1024;

  static int BucketOf(float score) {
    return static_cast<int>(std::min(score * -32.0f, static_cast<float>(kBuckets - 1)));
  }

  const Row& row_;
  std::array<int64_t, kBuckets> counts_{};
  std::array<double, kBuckets> masses_{};
};

// Cuts where the mass reaches `enough`; tokens from `first` on are sorted, and `mass` lies before
// them.
void CutAtMass(
    const float* weights, double enough, size_t first, double mass, std::vector<Token>& tokens) {
  size_t count = first;
  while (count < tokens.size() && (count == 0 || mass < enough)) {
    mass += weights[tokens[count++].id];
  }
  tokens.resize(count);
}

// The tokens that min_p leaves.
std::vector<Token> TokensAbove(const Row& row, double lowest) {
  std::vector<Token> tokens;
  for (int64_t id = 0; id < row.vocab_size; ++id) {
    if (row.scores[id] >= lowest && std::isfinite(row.scores[id])) {
      tokens.push_back({static_cast<int32_t>(id), row.scores[id]});
    }
  }
  return tokens;
}

double Mass(const Row& row, const std::vector<Token>& tokens) {
  double mass = 0;
  for (const Token& token : tokens) mass += row.weights[token.id];
  return mass;
}

// What min_p, top_k and top_p leave, in no particular order.
std::vector<Token> KeptTokens(const Row& row, const SamplingParams& params) {
  const bool by_count = params.top_k > 0 && params.top_k < row.vocab_size;
  const bool by_mass = params.top_p < 1;
  std::vector<Token> tokens;
  if (params.min_p > 0) {
    tokens = TokensAbove(row, std::log(double{params.min_p}));
    if (by_count || by_mass) std::sort(tokens.begin(), tokens.end(), Likelier);
  } else if (by_count) {
    tokens = Buckets(row).Take(params.top_k, 0).tokens;
    std::sort(tokens.begin(), tokens.end(), Likelier);
  } else if (by_mass) {
    const Buckets buckets(row);
    const double enough = params.top_p * buckets.total_mass();
    Buckets::Head head = buckets.Take(0, enough);
    CutAtMass(row.weights, enough, head.before, head.mass_before, head.tokens);
    return std::move(head.tokens);
  } else {
    // Noise spans less than 20, so a token this far behind the likeliest can never win.
    return TokensAbove(row, -20.0);
  }
  if (by_count && static_cast<size_t>(params.top_k) < tokens.size()) {
    tokens.resize(static_cast<size_t>(params.top_k));
  }
  if (by_mass) CutAtMass(row.weights, params.top_p * Mass(row, tokens), 0, 0, tokens);
  return tokens;
}

int32_t Draw(const std::vector<Token>& tokens, const DrawKey& key) {
  Token best{-1, -std::numeric_limits<float>::infinity()};
  for (const Token& token : tokens) {
    // Spares the noise of tokens that it cannot lift above the best.
    if (token.score + kMaxGumbel < best.score) continue;
    const Token drawn{token.id, token.score + Gumbel(key, token.id)};
    if (Likelier(drawn, best)) best = drawn;
  }
  return best.id;
}

// `memory` holds 2 * vocab_size floats.
int32_t SampleOne(const RowKernels& kernels,
                  const float* logits,
                  int64_t vocab_size,
                  const SampleRow& row,
                  float* memory) {
  float* scores = memory;
  float* weights = memory + vocab_size;
  kernels.copy_numbers(logits, vocab_size, scores);
  ApplyPenalties(row, vocab_size, scores);
  const float max = kernels.max(scores, vocab_size);
  const float temperature = row.params->temperature;
  if (temperature == 0 || !std::isfinite(max)) {
    return static_cast<int32_t>(std::find(scores, scores + vocab_size, max) - scores);
  }
  kernels.scores(max, temperature, vocab_size, scores, weights);
  return Draw(KeptTokens({scores, weights, vocab_size}, *row.params), row.key);
}

// The k largest of the row, the lower id first on a tie.
void TopTokens(const float* logits, int64_t vocab_size, int64_t k, std::vector<Token>& top) {
  top.clear();
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (static_cast<int64_t>(top.size()) == k && !(logits[id] > top.back().score)) continue;
    const Token token{static_cast<int32_t>(id), logits[id]};
    if (static_cast<int64_t>(top.size()) == k) top.pop_back();
    top.insert(std::upper_bound(top.begin(), top.end(), token, Likelier), token);
  }
}

}  // namespace

Status Sample(CpuContext& cpu, const SampleArgs& args) {
  const int64_t vocab_size = args.logits.dim(1);
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(2 * vocab_size));
  cpu.pool.Run(args.logits.dim(0), [&](int64_t i, int thread) {
    args.token_ids.as<int32_t>()[i] =
        SampleOne(cpu.rows, args.logits.as<float>() + i * vocab_size, vocab_size, (*args.rows)[i],
                  cpu.thread_scratch[thread].floats());
  });
  return OkStatus();
}

Status Logprobs(CpuContext& cpu, const LogprobsArgs& args) {
  const int64_t vocab_size = args.logits.dim(1);
  LONGHAND_RETURN_IF_ERROR(CheckIndices("token_ids", args.token_ids, vocab_size));
  const int64_t k = args.top_ids.rank() == 0 ? 0 : args.top_ids.dim(1);
  cpu.pool.Run(args.logits.dim(0), [&](int64_t i, int) {
    const float* logits = args.logits.as<float>() + i * vocab_size;
    const float max = cpu.rows.max(logits, vocab_size);
    const double log_total = max + std::log(cpu.rows.sum_exp(logits, max, vocab_size));
    args.logprobs.as<float>()[i] =
        static_cast<float>(logits[args.token_ids.as<int32_t>()[i]] - log_total);
    if (k == 0) return;
    std::vector<Token> top;
    TopTokens(logits, vocab_size, k, top);
    for (int64_t j = 0; j < k; ++j) {
      args.top_ids.as<int32_t>()[i * k + j] = top[j].id;
      args.top_logprobs.as<float>()[i * k + j] = static_cast<float>(top[j].score - log_total);
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
