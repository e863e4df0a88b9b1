#include "coordinator/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

using ::testing::HasSubstr;

Request Endless(const std::string& id, int64_t num_tokens, int64_t max_tokens = 60) {
  Request request = MakeRequest(id, num_tokens, max_tokens);
  request.ignore_eos = true;
  return request;
}

std::vector<size_t> ChunkSizes(const StepPlan& plan) {
  std::vector<size_t> sizes;
  for (const SequenceChunk& chunk : plan.chunks) sizes.push_back(chunk.token_ids.size());
  return sizes;
}

EngineConfig AtDepth(int32_t depth) {
  EngineConfig config = SmallConfig();
  config.pipeline_depth = depth;
  return config;
}

// 16 tokens a step: streams take theirs first; of the rest the older prompt gets half, and the
// shorter one what is left.
TEST(SchedulerTest, StreamsGoOnWhileLongPromptsArePrefilled) {
  EngineHarness harness(AtDepth(0));
  harness.FormGroup();
  harness.Submit(Endless("stream", 4));
  harness.RunStep();
  harness.Submit(Endless("long", 37));
  harness.Submit(Endless("younger", 20));
  harness.RunStep();
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 8, 7}));
  harness.RunStep();
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 8, 7}));
  EXPECT_FALSE(harness.plans_.front().chunks[1].sample);
  harness.RunStep();
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 9, 6}));
  EXPECT_TRUE(harness.plans_.front().chunks[2].sample);
  harness.RunStep();
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 1, 12}));
}

// What a stream waits for between two tokens is bounded by what else its steps may hold.
TEST(SchedulerTest, StepsWithStreamsHoldABoundedNumberOfPromptTokens) {
  EngineConfig config = AtDepth(0);
  config.max_num_prefill_tokens = 5;
  EngineHarness harness(config);
  harness.FormGroup();
  harness.Submit(Endless("stream", 20));
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{16}));  // nobody waits
  harness.RunStep();
  harness.RunStep();
  harness.Submit(Endless("long", 37));
  harness.RunStep();
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 5}));
}

TEST(SchedulerTest, StepsWithStreamsAreShorterWhereTheyTakeLong) {
  EngineConfig config = AtDepth(0);
  config.max_num_batched_tokens = 512;
  config.max_model_len = 512;
  config.target_step_time = std::chrono::milliseconds(500);
  config.enable_prefix_caching = false;
  GroupShape shape = SmallShape();
  shape.num_blocks = 1000;
  EngineHarness harness(config, shape);
  harness.FormGroup();
  harness.Submit(Endless("stream", 4));
  harness.RunStep();
  harness.RunStep(100'000);
  harness.Submit(Endless("long", 400));
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1}));
  harness.RunStep(100'000);
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 400}));
  harness.RunStep(100'000 + 400 * 10'000);
  harness.Submit(Endless("next", 400));
  harness.RunStep(100'000);
  EXPECT_EQ(ChunkSizes(harness.plans_.front()), (std::vector<size_t>{1, 1, 40}));
}

TEST(SchedulerTest, APlanIsSentAheadWithTheTokenThatIsStillOnTheDevice) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  harness.Submit(Endless("a", 4));
  ASSERT_EQ(harness.plans_.size(), 2u);
  EXPECT_EQ(harness.plans_[1].step, 2);
  EXPECT_EQ(harness.plans_[1].chunks[0].token_ids, std::vector<int32_t>{kTokenOnDevice});
  EXPECT_EQ(harness.plans_[1].chunks[0].num_computed_tokens, 4);
  EXPECT_EQ(harness.plans_[1].chunks[0].output_position, 1);
  // Token 4 has position 4 + rope_delta.
  EXPECT_EQ(harness.plans_[1].chunks[0].positions, (std::vector<int32_t>{2, 2, 2}));
}

TEST(SchedulerTest, AtDepthZeroEveryTokenIsKnown) {
  EngineHarness harness(AtDepth(0));
  harness.FormGroup();
  const Request request = Endless("a", 4);
  harness.Submit(request);
  EXPECT_EQ(harness.plans_.size(), 1u);
  harness.RunStep();
  ASSERT_EQ(harness.plans_.size(), 1u);
  EXPECT_EQ(harness.plans_[0].chunks[0].token_ids[0], harness.Expected(request).token_ids[0]);
}

// The step in flight still names the stream that has just stopped: its token is dropped, its blocks
// wait.
TEST(SchedulerTest, FinishedIsNotFreedAndTheSurplusTokenIsDropped) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  const Request request = RequestEndingWith(harness, MakeRequest("a", 4, 60), "eos");
  const auto recording = harness.Submit(request);
  while (!recording->end.has_value()) harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_steps_in_flight, 1);
  EXPECT_LT(harness.engine_.Stats().num_free_blocks, harness.shape_.num_blocks);
  harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_free_blocks, harness.shape_.num_blocks);
  EXPECT_EQ(recording->answers[0], harness.Expected(request));
}

TEST(SchedulerTest, NoTokenIsPlannedBeyondMaxTokens) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  harness.Submit(Endless("a", 4, 2));
  harness.RunStep();
  EXPECT_EQ(harness.plans_.size(), 1u);  // The second token is in flight, and it is the last.
}

// 32 blocks of 8. The first promises 15, the second would need 20: it waits, and the third does not
// overtake it.
TEST(SchedulerTest, BlocksArePromisedInOrderOfArrival) {
  EngineConfig config = AtDepth(0);
  config.max_model_len = 200;
  EngineHarness harness(config);
  harness.FormGroup();
  harness.Submit(Endless("first", 20, 100));
  const auto second = harness.Submit(Endless("second", 60, 100));
  harness.Submit(Endless("third", 4, 4));
  EXPECT_EQ(harness.engine_.Stats().num_running, 1);
  EXPECT_EQ(harness.engine_.Stats().num_waiting, 2);
  while (second->events.empty()) harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_waiting, 0);
}

TEST(SchedulerTest, BlocksAreTakenOnlyAsAnAnswerGrows) {
  EngineHarness harness(AtDepth(0));
  harness.FormGroup();
  harness.Submit(Endless("a", 8, 100));
  EXPECT_EQ(harness.plans_.front().chunks[0].new_block_ids.size(), 1u);
  harness.RunStep();
  EXPECT_EQ(harness.plans_.front().chunks[0].first_block_idx, 1);
  EXPECT_EQ(harness.plans_.front().chunks[0].new_block_ids.size(), 1u);
  harness.RunStep();
  EXPECT_EQ(harness.plans_.front().chunks[0].new_block_ids.size(), 0u);
  EXPECT_EQ(harness.engine_.Stats().num_free_blocks, 30);
}

TEST(SchedulerTest, WhatCanNeverFitIsRefusedWithBothNumbers) {
  EngineConfig config = AtDepth(1);
  config.max_model_len = 1000;
  EngineHarness harness(config);
  harness.FormGroup();
  EXPECT_EQ(harness.Submit(Endless("context", 600, 401))->end->ToString(),
            "INVALID_ARGUMENT: the prompt has 600 tokens and max_tokens is 401; together at most "
            "1000 fit the context");
  EXPECT_EQ(harness.Submit(Endless("blocks", 200, 57))->end->ToString(),
            "INVALID_ARGUMENT: prompt and answer need 33 KV blocks; the cache has 32");
  Request with_image = Endless("image", 100);
  AddImage(with_image, 0, 65, 1);
  EXPECT_EQ(harness.Submit(with_image)->end->ToString(),
            "INVALID_ARGUMENT: an image has 65 tokens; the encoder cache holds 64");
}

TEST(SchedulerTest, AFullQueueRefusesWithItsLength) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  for (int i = 0; i < 12; ++i) {  // 4 run, 8 wait
    EXPECT_FALSE(harness.Submit(Endless(std::to_string(i), 4))->end.has_value());
    harness.RunStep();
  }
  harness.clock_.Advance(std::chrono::seconds(1));  // Now their pace is known.
  EXPECT_EQ(
      harness.Submit(Endless("13th", 4))->end->ToString(),
      "RESOURCE_EXHAUSTED: 8 answers wait for a place, and the request is for 1; at most 8 may "
      "wait; try again in 2 s");
}

// Waiting would not help: it could never be admitted.
TEST(SchedulerTest, MoreAnswersThanMayWaitAreAnInvalidRequest) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  Request many = Endless("many", 4);
  many.num_choices = 13;
  EXPECT_EQ(harness.Submit(many)->end->ToString(),
            "INVALID_ARGUMENT: n is 13; at most 4 answers run at once, and 8 may wait for a place");
}

// They come between two plans, so that nobody has been admitted yet.
TEST(SchedulerTest, ABurstOfAsManyAsMayRunAndWaitIsTaken) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  std::vector<std::shared_ptr<Recording>> burst;
  for (int i = 0; i < 13; ++i) {
    const std::string id = std::to_string(i);
    burst.push_back(std::make_shared<Recording>());
    ASSERT_EQ(harness.engine_.Submit(std::make_shared<const Request>(Endless(id, 4)),
                                     std::make_unique<RecordingSink>(burst.back())),
              OkStatus());
  }
  harness.Turn();
  for (int i = 0; i < 12; ++i) EXPECT_FALSE(burst[static_cast<size_t>(i)]->end.has_value()) << i;
  ASSERT_TRUE(burst[12]->end.has_value());
  EXPECT_THAT(burst[12]->end->message(), HasSubstr("8 answers wait for a place"));
}

// Who waits for blocks waits, however many places there are.
TEST(SchedulerTest, APlaceWithoutBlocksIsNone) {
  EngineConfig config = AtDepth(1);
  config.max_model_len = 300;
  config.max_waiting_seqs = config.max_waiting_seqs_per_tenant = 1;
  EngineHarness harness(config);
  harness.FormGroup();
  EXPECT_FALSE(harness.Submit(Endless("runs", 200, 40))->end.has_value());
  harness.RunStep();
  EXPECT_FALSE(harness.Submit(Endless("waits", 200, 40))->end.has_value());
  harness.RunStep();
  ASSERT_EQ(harness.engine_.Stats().num_running, 1);
  const auto refused = harness.Submit(Endless("refused", 4));
  ASSERT_TRUE(refused->end.has_value());
  EXPECT_THAT(refused->end->message(), HasSubstr("1 answers wait for a place"));
}

TEST(SchedulerTest, PenaltiesSendThePromptAlong) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  Request request = Endless("a", 4);
  request.sampling.repetition_penalty = 1.05f;
  harness.Submit(request);
  EXPECT_EQ(harness.plans_[0].chunks[0].start[0].prompt_token_ids, request.token_ids);
  EXPECT_TRUE(harness.plans_[1].chunks[0].start.empty());
}

TEST(SchedulerTest, BiasesComeOnceWithTheStart) {
  EngineHarness harness(AtDepth(1));
  harness.FormGroup();
  Request request = Endless("a", 4);
  request.biases = {{3, -100}, {8, 0.5f}};
  harness.Submit(request);
  EXPECT_EQ(harness.plans_[0].chunks[0].start[0].biases, request.biases);
  EXPECT_TRUE(harness.plans_[1].chunks[0].start.empty());
}

TEST(SchedulerTest, AResultThatDoesNotFitItsPlanIsAnError) {
  for (const bool drop_token : {true, false}) {
    EngineHarness harness(AtDepth(1));
    harness.FormGroup();
    harness.Submit(Endless("a", 4));
    StepResult result = harness.workers_->Run(harness.plans_.front());
    if (drop_token) {
      result.sequences.clear();
    } else {
      result.step = 2;
    }
    harness.engine_.OnStepResult(std::move(result));
    harness.Turn();
    ASSERT_TRUE(harness.abandoned_.has_value());
    EXPECT_EQ(harness.abandoned_->message(),
              drop_token ? "step 1 answered 0 tokens, 0 scores and 0 alternatives for a sequence; "
                           "1, 0 and 0 were due"
                         : "the worker group answered step 2; 1 was due");
  }
}

}  // namespace
}  // namespace longhand::engine
