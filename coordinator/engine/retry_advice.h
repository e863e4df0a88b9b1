// RetryAdvice: when a request that a full queue refused is worth sending again. Engine thread.
//
// Places come free as answers are made: tokens an answer takes, over tokens made a second while any
// were to be made. Whoever is refused is told a place later than the one refused before, so that
// they do not all come back at once.
#pragma once

#include <cstdint>

#include "common/clock.h"

namespace longhand::engine {

class RetryAdvice {
 public:
  // Tokens were made.
  void OnTokens(int64_t count, TimePoint now);
  // Nothing is being made: the time that passes says nothing, and whoever comes back finds a place.
  void OnIdle(TimePoint now);
  // An answer has left the queue, and its place is one of those that were promised.
  void OnPlaceFree();
  // Seconds, 1 to 600, for a request of `num_answers` of `answer_tokens` each.
  int64_t Refuse(int64_t num_answers, int64_t answer_tokens, TimePoint now);

 private:
  double SecondsFor(double num_tokens, TimePoint now) const;

  int64_t num_due_ = 0;  // answers that were refused and may come back
  double num_tokens_ = 0;
  Duration busy_{};  // in which they were made, up to latest_
  TimePoint latest_{};
};

}  // namespace longhand::engine
