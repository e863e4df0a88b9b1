// Biases of tokens: what they do to an answer, and that its tokens stay the same on every number of
// ranks, among others and when a worker is lost.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>
#include <utility>
#include <vector>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using Biases = std::vector<std::pair<int32_t, float>>;

v1::GenerateRequest Biased(v1::GenerateRequest request, const Biases& biases) {
  for (const auto& [id, bias] : biases)
    (*request.mutable_sampling()->mutable_logit_bias())[id] = bias;
  return request;
}

// Drawn, with all that changes logits.
v1::GenerateRequest DrawnRequest(int number, int64_t max_tokens) {
  v1::GenerateRequest request = TextRequest("Story " + std::to_string(number), max_tokens);
  v1::Sampling* sampling = request.mutable_sampling();
  sampling->set_temperature(number % 3 == 0 ? 0 : 0.9f);
  sampling->set_top_p(number % 2 == 0 ? 0.95f : 1);
  sampling->set_repetition_penalty(1.1f);
  sampling->set_frequency_penalty(0.2f);
  sampling->set_seed(static_cast<uint64_t>(number));
  Biases biases;
  for (int32_t i = 0; i < 300; ++i)
    biases.emplace_back(7 + 3 * i, 0.1f * static_cast<float>(i % 101 - 50));
  biases[static_cast<size_t>(number)].second = 9;
  return Biased(std::move(request), biases);
}

// Of the first token: the best ones, as the model has them.
v1::Logprob FirstToken(const Answer& answer) {
  for (const v1::GenerateEvent& event : answer.events) {
    if (event.logprobs_size() > 0) return event.logprobs(0);
  }
  ADD_FAILURE() << "no log-probabilities: " << answer.status.error_message();
  return {};
}

std::string TextOf(const Answer& answer) {
  std::string text;
  for (const v1::GenerateEvent& event : answer.events) text += event.text();
  return text;
}

std::vector<std::string> Ranks(int tp_size) {
  return {"--tp", std::to_string(tp_size), "--threads", "1", "--max-num-seqs", "8"};
}

class LogitBiasTest : public ::testing::TestWithParam<int> {};

TEST_P(LogitBiasTest, MovesTheAnswerAndNotTheLogprobs) {
  LocalCluster cluster(TestCheckpointPath(), Ranks(GetParam()));
  v1::GenerateRequest request = TextRequest("Hello", 6);
  request.mutable_return_()->set_logprobs(3);
  const v1::Logprob plain = FirstToken(cluster.Generate(request));
  ASSERT_EQ(plain.top_size(), 3);
  const int32_t best = plain.top(0).token_id(), second = plain.top(1).token_id();
  ASSERT_EQ(plain.token_id(), best);

  const v1::Logprob biased = FirstToken(cluster.Generate(Biased(request, {{best, -100}})));
  EXPECT_EQ(biased.token_id(), second);
  EXPECT_EQ(biased.logprob(), plain.top(1).logprob());
  ASSERT_EQ(biased.top_size(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(biased.top(i).token_id(), plain.top(i).token_id());
    EXPECT_EQ(biased.top(i).logprob(), plain.top(i).logprob());
  }

  const int32_t forced = plain.top(2).token_id();
  for (const float temperature : {0.0f, 1.0f}) {
    v1::GenerateRequest drawn = Biased(request, {{3, -1}, {forced, 100}});
    drawn.mutable_sampling()->set_temperature(temperature);
    drawn.mutable_sampling()->set_n(2);
    const Answer answer = cluster.Generate(drawn);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, std::vector<int32_t>(12, forced)) << temperature;
  }
}

TEST_P(LogitBiasTest, AFormOfTheAnswerHoldsAllTheSame) {
  LocalCluster cluster(TestCheckpointPath(), Ranks(GetParam()));
  v1::GenerateRequest request = TextRequest("Hello", 8);
  const int32_t best = cluster.Generate(request).token_ids.at(0);
  request.mutable_constraint()->set_regex("(17|29){2}");
  const Answer answer = cluster.Generate(Biased(request, {{best, 100}}));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_TRUE(TextOf(answer).size() == 4 &&
              TextOf(answer).find_first_not_of("1279") == std::string::npos)
      << TextOf(answer);
}

INSTANTIATE_TEST_SUITE_P(TensorParallel, LogitBiasTest, ::testing::Values(1, 2));

TEST(LogitBias, TokensAreTheSameOnEveryNumberOfRanksAloneAndAmongOthers) {
  constexpr int kRequests = 8;
  std::vector<Answer> expected;
  for (const int tp_size : {1, 2}) {
    LocalCluster cluster(TestCheckpointPath(), Ranks(tp_size));
    if (expected.empty()) {
      v1::GenerateRequest plain = DrawnRequest(0, 40);
      plain.mutable_sampling()->clear_logit_bias();
      EXPECT_NE(cluster.Generate(plain).token_ids, cluster.Generate(DrawnRequest(0, 40)).token_ids);
      for (int i = 0; i < kRequests; ++i) expected.push_back(cluster.Generate(DrawnRequest(i, 40)));
    }
    std::vector<Answer> together(kRequests);
    {
      std::vector<std::jthread> clients;
      for (int i = 0; i < kRequests; ++i) {
        clients.emplace_back(
            [&, i] { together[static_cast<size_t>(i)] = cluster.Generate(DrawnRequest(i, 40)); });
      }
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(together[i].status.ok()) << together[i].status.error_message();
      EXPECT_EQ(together[i].token_ids, expected[i].token_ids) << tp_size << " ranks, story " << i;
      EXPECT_EQ(expected[i].token_ids.size(), 40u);
    }
  }
}

TEST(LogitBias, ALostWorkerChangesNoToken) {
  LocalCluster cluster(TestCheckpointPath(), Ranks(2));
  const v1::GenerateRequest request = DrawnRequest(1, 400);
  const Answer undisturbed = cluster.Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  std::vector<int32_t> token_ids;
  bool is_first = true;
  for (v1::GenerateEvent event; reader->Read(&event);) {
    token_ids.insert(token_ids.end(), event.token_ids().begin(), event.token_ids().end());
    if (std::exchange(is_first, false)) {
      ASSERT_EQ(kill(cluster.worker_pids()[1], SIGKILL), 0);
    }
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(token_ids, undisturbed.token_ids);
}

}  // namespace
}  // namespace longhand::e2e
