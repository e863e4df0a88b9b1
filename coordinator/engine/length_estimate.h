// LengthEstimate: how long answers turn out. Engine thread.
#pragma once

#include <array>
#include <cstdint>

#include "coordinator/engine/request.h"

namespace longhand::engine {

class LengthEstimate {
 public:
  // `quantile`: the share of answers that are not to outgrow what is expected, in (0, 1].
  explicit LengthEstimate(double quantile) : quantile_(quantile) {}

  // An answer has come to its end.
  void Observe(int64_t num_tokens, int64_t num_words);
  // Tokens that an answer of the request is expected to take: the quantile of the latest 256
  // answers, or of an answer with a target of words the tokens that words took in these. max_tokens
  // where that is less, where nothing else can end the answer, and until 16 have ended. Never less
  // than min_tokens.
  int64_t Expect(const Request& request) const;

 private:
  static constexpr size_t kNumKept = 256;
  struct Length {
    int64_t num_tokens = 0;
    int64_t num_words = 0;
  };

  int64_t Quantile() const;
  int64_t TokensFor(int64_t num_words) const;

  const double quantile_;
  std::array<Length, kNumKept> lengths_{};  // zeros where none was observed yet
  int64_t num_observed_ = 0;
};

}  // namespace longhand::engine
