#include "coordinator/engine/retry_advice.h"

#include <algorithm>
#include <cmath>

#include "common/duration.h"

namespace longhand::engine {
namespace {

constexpr int64_t kMaxSeconds = 600;
constexpr int64_t kMaxDue = 4096;
// The rate is that of the latest half to whole minute.
constexpr std::chrono::seconds kWindow(60);

}  // namespace

void RetryAdvice::OnTokens(int64_t count, TimePoint now) {
  num_tokens_ += static_cast<double>(count);
  if (now - since_ < kWindow) return;
  num_tokens_ *= Seconds(kWindow / 2) / Seconds(now - since_);
  since_ = now - kWindow / 2;
}

void RetryAdvice::OnIdle(TimePoint now) {
  num_tokens_ = 0;
  since_ = now;
}

void RetryAdvice::OnPlaceFree() { num_due_ = std::max<int64_t>(0, num_due_ - 1); }

double RetryAdvice::TokensPerSecond(TimePoint now) const {
  // A second at least: the first step's tokens are no rate.
  return num_tokens_ / std::max(1.0, Seconds(now - since_));
}

int64_t RetryAdvice::Refuse(int64_t num_answers, int64_t answer_tokens, TimePoint now) {
  num_due_ = std::min(kMaxDue, num_due_ + num_answers);
  const double num_tokens = static_cast<double>(num_due_) * static_cast<double>(answer_tokens);
  const double seconds = num_tokens / std::max(1.0, TokensPerSecond(now));
  return static_cast<int64_t>(
      std::ceil(std::clamp(seconds, 1.0, static_cast<double>(kMaxSeconds))));
}

}  // namespace longhand::engine
