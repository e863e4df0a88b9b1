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
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/token_buckets.h"
#include "kernels/host_checks.h"
#include "kernels/sampling_math.h"

namespace longhand::kernels::cpu {
namespace {

// Cuts where the mass reaches `enough`; tokens from `first` on are sorted, and `mass` lies before
// them.
void CutAtMass(
    const float* weights, double enough, size_t first, uint64_t mass, std::vector<Token>& tokens) {
  size_t count = first;
  while (count < tokens.size() && static_cast<double>(mass) < enough) {
    mass += MassOfWeight(weights[tokens[count++].id]);
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

uint64_t Mass(const Row& row, const std::vector<Token>& tokens) {
  uint64_t mass = 0;
  for (const Token& token : tokens) mass += MassOfWeight(row.weights[token.id]);
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
    const double enough = double{params.top_p} * static_cast<double>(buckets.total_mass());
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
  if (by_mass) {
    const double enough = double{params.top_p} * static_cast<double>(Mass(row, tokens));
    CutAtMass(row.weights, enough, 0, 0, tokens);
  }
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
                  const TensorView& history,
                  float* memory) {
  float* scores = memory;
  float* weights = memory + vocab_size;
  kernels.copy_numbers(logits, vocab_size, scores);
  ApplyPenalties(row, history, /*first_id=*/0, vocab_size, scores);
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
    const SampleRow& row = (*args.rows)[i];
    const int32_t token_id =
        SampleOne(cpu.rows, args.logits.as<float>() + i * vocab_size, vocab_size, row, args.history,
                  cpu.thread_scratch[thread].floats());
    args.token_ids.as<int32_t>()[i] = token_id;
    AppendToken(row, token_id, args.history);
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
