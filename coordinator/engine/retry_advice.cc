#include "coordinator/engine/retry_advice.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
  busy_ += now - std::exchange(latest_, now);
  if (busy_ < kWindow) return;
  num_tokens_ *= Seconds(kWindow / 2) / Seconds(busy_);
  busy_ = kWindow / 2;
}

void RetryAdvice::OnIdle(TimePoint now) {
  latest_ = now;
  num_due_ = 0;
}

void RetryAdvice::OnPlaceFree() { num_due_ = std::max<int64_t>(0, num_due_ - 1); }

double RetryAdvice::SecondsFor(double num_tokens, TimePoint now) const {
  // Before a second of tokens nobody knows: those who were refused come back one a second.
  const double busy = Seconds(busy_ + (now - latest_));
  if (num_tokens_ == 0 || busy < 1) return static_cast<double>(num_due_);
  return num_tokens / std::max(1.0, num_tokens_ / busy);
}

int64_t RetryAdvice::Refuse(int64_t num_answers, int64_t answer_tokens, TimePoint now) {
  num_due_ = std::min(kMaxDue, num_due_ + num_answers);
  const double num_tokens = static_cast<double>(num_due_) * static_cast<double>(answer_tokens);
  const double seconds = SecondsFor(num_tokens, now);
  return static_cast<int64_t>(
      std::ceil(std::clamp(seconds, 1.0, static_cast<double>(kMaxSeconds))));
}

}  // namespace longhand::engine
