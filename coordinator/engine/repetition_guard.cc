#include "coordinator/engine/repetition_guard.h"

#include <algorithm>

namespace longhand::engine {
namespace {

constexpr int64_t kFewestRepeated = 64;
constexpr int64_t kFewestOfSuspect = 16;
constexpr int64_t kSuspicion = 1024;  // tokens

}  // namespace

RepetitionGuard::RepetitionGuard() : periods_(kMaxPeriod + 1) {}

void RepetitionGuard::Append(int32_t token_id) {
  const int64_t longest = std::min(num_tokens_, kMaxPeriod);
  for (int64_t period = 1; period <= longest; ++period) {
    int64_t& num_repeated = periods_[static_cast<size_t>(period)].num_repeated;
    num_repeated = Token(num_tokens_ - period) == token_id ? num_repeated + 1 : 0;
  }
  latest_[static_cast<size_t>(num_tokens_++ % kMaxPeriod)] = token_id;
  const bool was_in_loop = loop_ != 0;
  loop_ = 0;
  for (int64_t period = 1; period <= longest && loop_ == 0; ++period) {
    if (IsLoop(period)) loop_ = period;
  }
  if (loop_ == 0) return;
  periods_[static_cast<size_t>(loop_)].suspected_until = num_tokens_ + kSuspicion;
  if (!was_in_loop) ++num_loops_;
}

bool RepetitionGuard::IsLoop(int64_t idx) const {
  const Period& period = periods_[static_cast<size_t>(idx)];
  const bool is_suspect = num_tokens_ <= period.suspected_until;
  const int64_t needed =
      is_suspect ? std::max(kFewestOfSuspect, idx) : std::max(kFewestRepeated, 2 * idx);
  return period.num_repeated >= needed;
}

std::optional<int32_t> RepetitionGuard::Continuation() const {
  if (loop_ == 0) return std::nullopt;
  // Of period 1, that is the next token, which is not known: the loop has but one.
  return Token(loop_ == 1 ? num_tokens_ - 1 : num_tokens_ + 1 - loop_);
}

}  // namespace longhand::engine
