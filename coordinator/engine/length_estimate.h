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
  void Observe(int64_t num_tokens);
  // Tokens that an answer of the request is expected to take: the quantile of the latest 256
  // answers. max_tokens where that is less, where nothing else can end the answer, and until 16
  // have ended. Never less than min_tokens.
  int64_t Expect(const Request& request) const;

 private:
  static constexpr size_t kNumKept = 256;

  const double quantile_;
  std::array<int64_t, kNumKept> lengths_{};
  int64_t num_observed_ = 0;
};

}  // namespace longhand::engine
