#include "tests/e2e/near_ties.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace longhand::e2e {

GreedyAnswer AskGreedily(LocalCluster& cluster, v1::GenerateRequest request) {
  request.mutable_return_()->set_logprobs(2);
  const Answer answer = cluster.Generate(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  GreedyAnswer greedy{.token_ids = answer.token_ids, .logprobs = {}, .gaps = {}};
  for (const v1::GenerateEvent& event : answer.events) {
    for (const v1::Logprob& step : event.logprobs()) {
      greedy.logprobs.push_back(step.logprob());
      greedy.gaps.push_back(step.top(0).logprob() - step.top(1).logprob());
    }
  }
  EXPECT_EQ(greedy.logprobs.size(), greedy.token_ids.size());
  return greedy;
}

::testing::AssertionResult EqualButNearTies(const std::vector<GreedyAnswer>& expected,
                                            const std::vector<GreedyAnswer>& actual) {
  LONGHAND_CHECK_EQ(expected.size(), actual.size());
  float error = 0;
  std::vector<size_t> num_equal;
  for (size_t i = 0; i < expected.size(); ++i) {
    const GreedyAnswer& one = expected[i];
    const GreedyAnswer& other = actual[i];
    if (one.token_ids.size() != other.token_ids.size() || one.token_ids.empty()) {
      return ::testing::AssertionFailure() << "answer " << i << " has " << other.token_ids.size()
                                           << " tokens, not " << one.token_ids.size();
    }
    const auto parting =
        std::mismatch(one.token_ids.begin(), one.token_ids.end(), other.token_ids.begin()).first;
    num_equal.push_back(static_cast<size_t>(parting - one.token_ids.begin()));
    for (size_t step = 0; step < num_equal.back(); ++step) {
      error = std::max(error, std::abs(one.logprobs[step] - other.logprobs[step]));
    }
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const size_t step = num_equal[i];
    std::printf("answer %zu: %zu of %zu tokens equal, log-probabilities within %.3g\n", i, step,
                expected[i].token_ids.size(), static_cast<double>(error));
    if (step == expected[i].token_ids.size() || expected[i].gaps[step] <= 2 * error) continue;
    return ::testing::AssertionFailure()
           << "token " << step << " of answer " << i << " is " << actual[i].token_ids[step]
           << ", not " << expected[i].token_ids[step] << ", a choice that hung on "
           << expected[i].gaps[step] << "; log-probabilities differ by " << error << " at most";
  }
  return ::testing::AssertionSuccess();
}

}  // namespace longhand::e2e
