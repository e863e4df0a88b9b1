#include "coordinator/engine/length_estimate.h"

#include <algorithm>
#include <cmath>

namespace longhand::engine {
namespace {

constexpr int64_t kFewest = 16;

bool CanEndEarly(const Request& request) {
  return !request.ignore_eos || !request.sampling.stop_token_ids.empty() ||
         !request.stop_strings.empty();
}

}  // namespace

void LengthEstimate::Observe(int64_t num_tokens) {
  lengths_[static_cast<size_t>(num_observed_++) % kNumKept] = num_tokens;
}

int64_t LengthEstimate::Expect(const Request& request) const {
  if (num_observed_ < kFewest || !CanEndEarly(request)) return request.max_tokens;
  std::array<int64_t, kNumKept> sorted = lengths_;
  const auto count = std::min<int64_t>(num_observed_, kNumKept);
  const auto rank = static_cast<int64_t>(std::ceil(static_cast<double>(count) * quantile_));
  const auto quantile = sorted.begin() + std::clamp<int64_t>(rank - 1, 0, count - 1);
  std::nth_element(sorted.begin(), quantile, sorted.begin() + count);
  return std::clamp(*quantile, std::max<int64_t>(request.sampling.min_tokens, 1),
                    request.max_tokens);
}

}  // namespace longhand::engine
