// A row's tokens by score: counted into buckets of equal width, so that a cut sorts one bucket
// only. Masses are integers, whose sums do not depend on an order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/sampling_math.h"

namespace longhand::kernels::cpu {

struct Token {
  int32_t id;
  float score;
};

inline bool Likelier(const Token& a, const Token& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// Scores of ids [0, vocab_size) of one row, in scratch, and e^score of each.
struct Row {
  const float* scores;
  const float* weights;
  int64_t vocab_size;
};

// Of a weight, in kMassBits after the point.
inline uint64_t MassOfWeight(float weight) {
  return static_cast<uint64_t>(double{weight} * kMassUnits + 0.5);
}

// The likeliest tokens up to a cut, by buckets: bucket b holds scores in (-(b + 1) / 32, -b / 32],
// the last one all that is lower.
class Buckets {
 public:
  explicit Buckets(const Row& row) : row_(row) {
    for (int64_t id = 0; id < row.vocab_size; ++id) {
      const int b = BucketOf(row.scores[id]);
      ++counts_[b];
      masses_[b] += MassOfWeight(row.weights[id]);
    }
  }

  uint64_t total_mass() const {
    uint64_t total = 0;
    for (const uint64_t mass : masses_) total += mass;
    return total;
  }

  // All tokens of the buckets until they hold `count` tokens and `mass`; the tokens of the last
  // bucket are sorted, as it is the only one that a cut can split. `before` and `mass_before` say
  // how many tokens, and how much, precede it.
  struct Head {
    std::vector<Token> tokens;
    size_t before = 0;
    uint64_t mass_before = 0;
  };
  Head Take(int64_t count, double mass) const {
    Head head;
    int64_t num_tokens = counts_[0];
    uint64_t sum = masses_[0];
    int last = 0;
    while (last + 1 < kBuckets && (num_tokens < count || static_cast<double>(sum) < mass)) {
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
  std::array<uint64_t, kBuckets> masses_{};
};

}  // namespace longhand::kernels::cpu
