// Whole answers of real processes: the reference's tokens at every TP size, alone and together.
#include <gtest/gtest.h>

#include <thread>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

// The server treats typed control tokens as text; the reference parses them.
bool SameTokensAsReference(const std::string& case_name) { return case_name != "text_control"; }

struct Group {
  int tp_size;
  const char* transport;
};

class AnswersTest : public ::testing::TestWithParam<Group> {};

TEST_P(AnswersTest, EveryRecordedCaseHasTheReferencesTokens) {
  const parity::Recording& recording = parity::TestRecording();
  LocalCluster cluster(
      TestCheckpointPath(),
      {"--dtype", "float32", "--tp", std::to_string(GetParam().tp_size), "--transport",
       GetParam().transport, "--threads", "1", "--max-num-batched-tokens", "32"});
  int compared = 0;
  for (const std::string& name : recording.CaseNames()) {
    if (!SameTokensAsReference(name)) continue;
    const std::vector<int32_t> expected = recording.Ints("case/" + name + "/greedy_ids");
    const Answer answer =
        cluster.Generate(RecordedRequest(recording, name, static_cast<int64_t>(expected.size())));
    ASSERT_TRUE(answer.status.ok()) << name << ": " << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, expected) << name;
    ++compared;
  }
  EXPECT_GE(compared, 12);
}

INSTANTIATE_TEST_SUITE_P(TensorParallel,
                         AnswersTest,
                         ::testing::Values(Group{1, "auto"},
                                           Group{2, "shared_memory"},
                                           Group{2, "gloo"},
                                           Group{4, "auto"}));

// The kernels for GPUs, through all that stands above them; slow on a host, hence few tokens.
class EmulatedAnswersTest : public ::testing::TestWithParam<int> {};

TEST_P(EmulatedAnswersTest, SixteenTokensAreTheReferences) {
  constexpr int64_t kTokens = 16;
  const parity::Recording& recording = parity::TestRecording();
  LocalCluster cluster(TestCheckpointPath(), {"--device", "emulated", "--dtype", "float32", "--tp",
                                              std::to_string(GetParam()), "--max-model-len", "1024",
                                              "--max-num-seqs", "8"});
  for (const std::string name : {"text_chinese", "one_image"}) {
    std::vector<int32_t> expected = recording.Ints("case/" + name + "/greedy_ids");
    ASSERT_GE(expected.size(), size_t{kTokens});
    expected.resize(kTokens);
    const Answer answer = cluster.Generate(RecordedRequest(recording, name, kTokens));
    ASSERT_TRUE(answer.status.ok()) << name << ": " << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, expected) << name;
  }
  const v1::GetStatusResponse status = cluster.GetStatus();
  for (const auto& rank : status.ranks()) EXPECT_EQ(rank.device(), "emulated");
}

INSTANTIATE_TEST_SUITE_P(TensorParallel, EmulatedAnswersTest, ::testing::Values(1, 2));

TEST(Answers, TheSameRequestHasTheSameTokensAloneAndAmongOthers) {
  const parity::Recording& recording = parity::TestRecording();
  LocalCluster cluster(
      TestCheckpointPath(),
      {"--tp", "2", "--threads", "1", "--max-num-batched-tokens", "32", "--max-num-seqs", "8"});
  const std::vector<std::string> names = {"photograph", "two_images", "text_long",  "text_chinese",
                                          "one_image",  "text_turns", "wide_image", "image_turns"};
  std::vector<v1::GenerateRequest> requests;
  for (size_t i = 0; i < names.size(); ++i) {
    requests.push_back(RecordedRequest(recording, names[i], 48));
    requests.back().mutable_sampling()->set_temperature(0.9f);
    requests.back().mutable_sampling()->set_top_p(0.95f);
    requests.back().mutable_sampling()->set_repetition_penalty(1.05f);
    requests.back().mutable_sampling()->set_seed(1000 + i);
  }
  std::vector<Answer> alone;
  for (const auto& request : requests) alone.push_back(cluster.Generate(request));
  std::vector<Answer> together(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] { together[i] = cluster.Generate(requests[i]); });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(together[i].status.ok()) << together[i].status.error_message();
    EXPECT_EQ(together[i].token_ids, alone[i].token_ids) << names[i];
    EXPECT_EQ(together[i].text, alone[i].text) << names[i];
    EXPECT_EQ(alone[i].token_ids.size(), 48u);
  }
}

TEST(Answers, EventsCarryWhatWasAskedFor) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  v1::GenerateRequest request = TextRequest("Hello", 5);
  request.set_request_id("my-id");
  request.mutable_return_()->set_logprobs(2);
  request.mutable_return_()->set_prompt_logprobs(true);
  request.mutable_return_()->set_prompt_token_ids(true);
  request.mutable_sampling()->set_n(2);
  const Answer answer = cluster.Generate(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const v1::GenerateEvent& first = answer.events.front();
  EXPECT_EQ(first.request_id(), "my-id");
  EXPECT_GT(first.prompt_token_ids_size(), 0);
  EXPECT_EQ(first.prompt_logprobs_size(), first.prompt_token_ids_size() - 1);
  std::vector<int> tokens(2);
  for (size_t i = 0; i < answer.events.size(); ++i) {
    const v1::GenerateEvent& event = answer.events[i];
    EXPECT_EQ(event.seq(), static_cast<int64_t>(i) + 1);
    EXPECT_EQ(event.logprobs_size(), event.token_ids_size());
    tokens[event.choice()] += event.token_ids_size();
    for (const v1::Logprob& logprob : event.logprobs()) {
      ASSERT_EQ(logprob.top_size(), 2);
      EXPECT_LE(logprob.top(0).logprob(), 0);
      EXPECT_EQ(logprob.top(0).token_id(), logprob.token_id());  // Greedy: the best one.
    }
  }
  EXPECT_EQ(tokens, (std::vector<int>{5, 5}));
  EXPECT_EQ(answer.events.back().usage().completion_tokens(), 10);
  EXPECT_EQ(answer.events.back().usage().prompt_tokens(), first.prompt_token_ids_size());
}

}  // namespace
}  // namespace longhand::e2e
