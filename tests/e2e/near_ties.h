// Greedy answers of two clusters whose arithmetic differs: equal, but where a choice hung on less
// than their arithmetic differs by.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <vector>

#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {

struct GreedyAnswer {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;
  std::vector<float> gaps;  // from the best log-probability to the second

  // Every bit.
  friend bool operator==(const GreedyAnswer&, const GreedyAnswer&) = default;
  friend void PrintTo(const GreedyAnswer& answer, std::ostream* out) {
    for (size_t i = 0; i < answer.token_ids.size(); ++i) {
      *out << answer.token_ids[i] << " (" << answer.logprobs.at(i) << ") ";
    }
  }
};

// `request` must be greedy, for one choice.
GreedyAnswer AskGreedily(LocalCluster& cluster, v1::GenerateRequest request);

// tools/gpu_check/cluster.py's rule: tokens are those expected up to a step where the expected
// choice hung on no more than both candidates may be off, which is twice the largest difference of
// log-probabilities before such steps, in all answers.
::testing::AssertionResult EqualButNearTies(const std::vector<GreedyAnswer>& expected,
                                            const std::vector<GreedyAnswer>& actual);

}  // namespace longhand::e2e
