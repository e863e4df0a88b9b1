#include <gtest/gtest.h>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

// Runs to max_tokens, though it might end before.
Request Long(const std::string& id, int64_t num_tokens, int64_t max_tokens) {
  Request request = MakeRequest(id, num_tokens, max_tokens, /*salt=*/std::hash<std::string>()(id));
  request.ignore_eos = true;
  request.stop_strings = {"no such text"};
  return request;
}

EngineConfig AtDepth(int32_t depth) {
  EngineConfig config = SmallConfig();
  config.pipeline_depth = depth;
  return config;
}

// From here on an answer is expected to have one token.
void TeachThatAnswersAreShort(EngineHarness& harness) {
  for (int i = 0; i < 16; ++i) {
    harness.Submit(MakeRequest("short" + std::to_string(i), 2, 1));
    harness.RunToEnd();
  }
}

class PromisesTest : public testing::TestWithParam<int32_t> {};

// 32 blocks of 8; each of the four needs 15 in the end, and is admitted for 2.
TEST_P(PromisesTest, PreemptedAnswersAreTheSame) {
  EngineHarness harness(AtDepth(GetParam()));
  harness.FormGroup();
  TeachThatAnswersAreShort(harness);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Recording>> recordings;
  for (const char* id : {"a", "b", "c", "d"}) {
    requests.push_back(Long(id, 8, 112));
    requests.back().prompt_logprobs = true;
    recordings.push_back(harness.Submit(requests.back()));
  }
  harness.RunStep();
  harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_running, 4);
  harness.RunToEnd(2000);
  EXPECT_GE(harness.engine_.Stats().num_preemptions, 1);
  EXPECT_LE(harness.engine_.Stats().num_preemptions, 3);  // once each, and never the oldest
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(recordings[i]->end.has_value() && recordings[i]->end->ok());
    EXPECT_EQ(recordings[i]->answers[0], harness.Expected(requests[i])) << requests[i].request_id;
  }
  EXPECT_EQ(harness.engine_.Stats().num_free_blocks, harness.shape_.num_blocks);
}

TEST_P(PromisesTest, TheOldestGetsATokenInEveryStep) {
  EngineHarness harness(AtDepth(GetParam()));
  harness.FormGroup();
  TeachThatAnswersAreShort(harness);
  const auto oldest = harness.Submit(Long("oldest", 8, 112));
  for (const char* id : {"b", "c", "d"}) harness.Submit(Long(id, 8, 112));
  while (oldest->events.empty()) harness.RunStep();
  while (!oldest->end.has_value()) {
    const size_t num_events = oldest->events.size();
    harness.RunStep();
    EXPECT_GT(oldest->events.size(), num_events);
  }
}

// The one of the lowest priority goes, though it is not the youngest.
TEST_P(PromisesTest, PrioritySaysWhoGoes) {
  EngineHarness harness(AtDepth(GetParam()));
  harness.FormGroup();
  TeachThatAnswersAreShort(harness);
  harness.Submit(Long("oldest", 8, 112));
  Request unimportant = Long("unimportant", 8, 112);
  unimportant.priority = 5;
  const auto preempted = harness.Submit(unimportant);
  const auto youngest = harness.Submit(Long("youngest", 8, 112));
  while (harness.engine_.Stats().num_preempted == 0) harness.RunStep();
  harness.RunStep();
  harness.RunStep();
  const size_t num_events = preempted->events.size();
  const size_t num_of_youngest = youngest->events.size();
  for (int i = 0; i < 4; ++i) harness.RunStep();
  EXPECT_EQ(preempted->events.size(), num_events);
  EXPECT_GT(youngest->events.size(), num_of_youngest);
}

TEST_P(PromisesTest, APreemptedAnswerCanBeCancelled) {
  EngineHarness harness(AtDepth(GetParam()));
  harness.FormGroup();
  TeachThatAnswersAreShort(harness);
  for (const char* id : {"a", "b", "c", "d"}) harness.Submit(Long(id, 8, 112));
  while (harness.engine_.Stats().num_preempted == 0) harness.RunStep();
  for (const char* id : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(harness.engine_.Cancel(id, nullptr).ok());
    harness.Turn();
  }
  harness.RunToEnd();
  EXPECT_EQ(harness.engine_.Stats().num_preempted, 0);
  EXPECT_EQ(harness.engine_.Stats().num_free_blocks, harness.shape_.num_blocks);
}

// The group is lost while some wait preempted: the next one takes up all, the oldest first.
TEST_P(PromisesTest, PreemptedAnswersOutliveTheirGroup) {
  EngineHarness harness(AtDepth(GetParam()));
  harness.FormGroup();
  TeachThatAnswersAreShort(harness);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Recording>> recordings;
  for (const char* id : {"a", "b", "c", "d"}) {
    requests.push_back(Long(id, 8, 112));
    recordings.push_back(harness.Submit(requests.back()));
  }
  while (harness.engine_.Stats().num_preempted == 0) harness.RunStep();
  harness.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness.Turn();
  harness.FormGroup(2);
  harness.RunToEnd(2000);
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(recordings[i]->end.has_value() && recordings[i]->end->ok());
    EXPECT_EQ(recordings[i]->answers[0], harness.Expected(requests[i])) << requests[i].request_id;
  }
}

INSTANTIATE_TEST_SUITE_P(Depth, PromisesTest, testing::Values(0, 1));

// Without knowledge of lengths nothing is promised that may not be kept: two of 15 blocks run.
TEST(PromisesTest, UntilAnswersHaveEndedPromisesAreWhole) {
  EngineHarness harness(AtDepth(0));
  harness.FormGroup();
  for (const char* id : {"a", "b", "c"}) harness.Submit(Long(id, 8, 112));
  harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_running, 2);
  harness.RunToEnd(2000);
  EXPECT_EQ(harness.engine_.Stats().num_preemptions, 0);
}

TEST(QueueBoundsTest, ATenantHasABoundOfItsOwn) {
  EngineConfig config = AtDepth(1);
  config.max_waiting_seqs_per_tenant = 2;
  EngineHarness harness(config);
  harness.FormGroup();
  const auto of = [](const std::string& tenant, int i) {
    Request request = MakeRequest(tenant + std::to_string(i), 4, 60);
    request.ignore_eos = true;
    request.tenant = tenant;
    return request;
  };
  for (int i = 0; i < 6; ++i) {  // 4 run, 2 wait
    EXPECT_FALSE(harness.Submit(of("a", i))->end.has_value());
    harness.RunStep();
  }
  harness.clock_.Advance(std::chrono::seconds(1));  // Now their pace is known.
  const auto refused = harness.Submit(of("a", 6));
  EXPECT_EQ(refused->end->ToString(),
            "RESOURCE_EXHAUSTED: 2 answers of this client wait for a place, and the request is for "
            "1; at most 2 of one client may wait; try again in 5 s");
  EXPECT_EQ(refused->end->retry_after_seconds(), 5);
  EXPECT_FALSE(harness.Submit(of("b", 0))->end.has_value());
}

TEST(QueueBoundsTest, WhoFindsNoPlaceInTimeIsToldSo) {
  EngineConfig config = AtDepth(1);
  config.max_num_seqs = 1;
  config.max_queue_time = std::chrono::seconds(5);
  EngineHarness harness(config);
  harness.FormGroup();
  Request endless = MakeRequest("runs", 4, 60);
  endless.ignore_eos = true;
  const auto runs = harness.Submit(endless);
  const auto waits = harness.Submit(MakeRequest("waits", 4, 60));
  harness.clock_.Advance(std::chrono::seconds(4));
  harness.Turn();
  EXPECT_FALSE(waits->end.has_value());
  harness.clock_.Advance(std::chrono::seconds(1));
  harness.Turn();
  ASSERT_TRUE(waits->end.has_value());
  EXPECT_TRUE(waits->end->message().starts_with(
      "no place came free in 5 s; requests wait at most 5 s; try again in "))
      << *waits->end;
  EXPECT_GT(waits->end->retry_after_seconds(), 0);
  EXPECT_FALSE(runs->end.has_value());
}

TEST(QueueBoundsTest, PriorityIsChecked) {
  Request request = MakeRequest("a", 4, 4);
  request.priority = 101;
  EXPECT_EQ(CheckRequest(request).message(), "priority is 101; it must be from -100 to 100");
}

}  // namespace
}  // namespace longhand::engine
