#include "coordinator/engine/length_estimate.h"

#include <algorithm>
#include <cmath>

namespace longhand::engine {
namespace {

constexpr int64_t kFewest = 16;
// Share of its target that an answer may have, and some for words that are longer than most.
constexpr double kMostOfTarget = 1.15;

bool CanEndEarly(const Request& request) {
  return !request.ignore_eos || !request.stop_token_ids.empty() || !request.stop_strings.empty() ||
         request.target_words > 0;
}

}  // namespace

void LengthEstimate::Observe(int64_t num_tokens, int64_t num_words) {
  lengths_[static_cast<size_t>(num_observed_++) % kNumKept] = {num_tokens, num_words};
}

int64_t LengthEstimate::Expect(const Request& request) const {
  if (num_observed_ < kFewest || !CanEndEarly(request) || request.max_tokens == 0)
    return request.max_tokens;
  const int64_t expected = request.target_words > 0 ? TokensFor(request.target_words) : Quantile();
  return std::clamp(expected, std::max<int64_t>(request.min_tokens, 1), request.max_tokens);
}

int64_t LengthEstimate::Quantile() const {
  std::array<Length, kNumKept> sorted = lengths_;
  const auto count = std::min<int64_t>(num_observed_, kNumKept);
  const auto rank = static_cast<int64_t>(std::ceil(static_cast<double>(count) * quantile_));
  const auto quantile = sorted.begin() + std::clamp<int64_t>(rank - 1, 0, count - 1);
  std::ranges::nth_element(sorted.begin(), quantile, sorted.begin() + count, {},
                           &Length::num_tokens);
  return quantile->num_tokens;
}

int64_t LengthEstimate::TokensFor(int64_t num_words) const {
  Length sum;
  for (const Length& length : lengths_) {
    sum.num_tokens += length.num_tokens;
    sum.num_words += length.num_words;
  }
  const double tokens_per_word = static_cast<double>(sum.num_tokens) /
                                 static_cast<double>(std::max<int64_t>(sum.num_words, 1));
  return static_cast<int64_t>(
      std::ceil(kMostOfTarget * tokens_per_word * static_cast<double>(num_words)));
}

}  // namespace longhand::engine
