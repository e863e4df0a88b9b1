#include "coordinator/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "tests/unit/coordinator/engine/engine_harness.h"
#include "tests/unit/coordinator/engine/fake_model.h"

namespace longhand::engine {
namespace {

using std::chrono::seconds;

class EngineTest : public testing::TestWithParam<int32_t> {
 protected:
  static EngineConfig Config() {
    EngineConfig config = SmallConfig();
    config.pipeline_depth = GetParam();
    return config;
  }
  EngineHarness harness_{Config()};
};

TEST_P(EngineTest, AnAnswerStreamsTokenByTokenAndEndsWithItsUsage) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 20, 10);
  request.ignore_eos = true;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  ASSERT_TRUE(recording->end.has_value());
  EXPECT_EQ(*recording->end, OkStatus());
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
  EXPECT_EQ(recording->events.size(), 10u);
  EXPECT_EQ(recording->events.back().finish_reason, FinishReason::kLength);
  EXPECT_EQ(recording->usage->prompt_tokens, 20);
  EXPECT_EQ(recording->usage->completion_tokens, 10);
  EXPECT_TRUE(recording->destroyed);
}

TEST_P(EngineTest, EachWayToEndHasItsDetail) {
  harness_.FormGroup();
  Request plain = MakeRequest("a", 5, 60);
  Request with_stop_id = plain;
  with_stop_id.ignore_eos = true;
  with_stop_id.stop_token_ids = {kFakeEos, 9};
  Request with_stop_string = plain;
  with_stop_string.ignore_eos = true;
  with_stop_string.stop_strings = {"hi", "b"};
  Request full = plain;
  full.ignore_eos = true;
  full.max_tokens = harness_.config_.max_model_len - 5;
  Request limited = plain;
  limited.ignore_eos = true;
  const std::pair<std::string, Request> cases[] = {{"eos", plain},
                                                   {"stop_token", with_stop_id},
                                                   {"stop_string", with_stop_string},
                                                   {"context_full", full},
                                                   {"max_tokens", limited}};
  for (const auto& [detail, request] : cases) {
    SCOPED_TRACE(detail);
    const Request chosen = RequestEndingWith(harness_, request, detail);
    const auto recording = harness_.Submit(chosen);
    harness_.RunToEnd();
    EXPECT_EQ(recording->answers[0], harness_.Expected(chosen));
    EXPECT_EQ(recording->answers[0].finish_detail, detail);
    const bool is_length = detail == "context_full" || detail == "max_tokens";
    EXPECT_EQ(recording->events.back().finish_reason,
              is_length ? FinishReason::kLength : FinishReason::kStop);
  }
}

TEST_P(EngineTest, AnIgnoredEndOfSequenceIsATokenLikeAnyOther) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 5, 100);
  request.ignore_eos = true;
  const auto has_eos = [](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), kFakeEos) != ids.end();
  };
  while (!has_eos(harness_.Expected(request).token_ids)) ++request.sampling.seed;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  const std::vector<int32_t>& ids = recording->answers[0].token_ids;
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_TRUE(has_eos(ids));
}

TEST_P(EngineTest, MinTokensHoldsBackTheEnd) {
  harness_.FormGroup();
  Request request = RequestEndingWith(harness_, MakeRequest("a", 5, 60), "eos", 1);
  request.min_tokens = 40;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  EXPECT_GE(recording->answers[0].token_ids.size(), 40u);
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
}

TEST_P(EngineTest, ChoicesAreNumberedApartAndCountedTogether) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 9, 12);
  request.num_choices = 3;
  request.sampling.num_logprobs = 0;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  ASSERT_EQ(recording->answers.size(), 3u);
  int64_t num_tokens = 0;
  for (uint32_t choice = 0; choice < 3; ++choice) {
    EXPECT_EQ(recording->answers[choice], harness_.Expected(request, choice));
    num_tokens += static_cast<int64_t>(recording->answers[choice].token_ids.size());
  }
  EXPECT_NE(recording->answers[0].token_ids, recording->answers[1].token_ids);
  EXPECT_EQ(recording->usage->prompt_tokens, 9);
  EXPECT_EQ(recording->usage->completion_tokens, num_tokens);
  for (const TokenEvent& event : recording->events) EXPECT_EQ(event.logprobs.size(), 1u);
}

// A form that leads nowhere after some tokens.
class DeadEnds final : public TokenConstraint {
 public:
  Status Append(int32_t token_id) override {
    return token_id % 8 > 0 ? OkStatus() : InvalidArgument("no further");
  }
  bool must_end() const override { return false; }
  Result<Next> FindNext() override {
    return Next{.allowed = std::vector<uint32_t>(kFakeVocabSize / 32, ~uint32_t{0})};
  }
};

struct DeadEndsFactory final : TokenConstraintFactory {
  std::unique_ptr<TokenConstraint> Create() const override { return std::make_unique<DeadEnds>(); }
};

// Others of its answers may have tokens in the same step, or come to a dead end of their own there.
TEST_P(EngineTest, AnAnswerWhoseFormLeadsNowhereEndsItsRequestAlone) {
  harness_.FormGroup();
  for (uint64_t seed = 1; seed <= 32; ++seed) {
    Request request = MakeRequest("a", 9, 40, seed);
    request.num_choices = 3;
    request.ignore_eos = true;
    request.constraint = std::make_shared<const DeadEndsFactory>();
    const auto recording = harness_.Submit(request);
    const Request other = MakeRequest("b", 9, 12);
    const auto others = harness_.Submit(other);
    harness_.RunToEnd();
    EXPECT_EQ(recording->end, InvalidArgument("no further")) << seed;
    EXPECT_EQ(others->end, OkStatus());
    EXPECT_EQ(others->answers[0], harness_.Expected(other));
  }
}

// The prompt takes three chunks of at most 16 tokens, with an event each.
TEST_P(EngineTest, PromptLogprobsComeOnceAndFirst) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 40, 3);
  request.prompt_logprobs = true;
  request.num_top_prompt_logprobs = 2;
  request.num_choices = 2;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  EXPECT_EQ(recording->events[0].prompt_logprobs.size(), 16u);
  EXPECT_EQ(recording->events[1].prompt_logprobs.size(), 16u);
  EXPECT_EQ(recording->events[2].prompt_logprobs.size(), 7u);
  EXPECT_EQ(recording->events[0].prompt_logprobs[0].token_id, request.token_ids[1]);
  EXPECT_EQ(recording->events[2].prompt_logprobs[6].token_id, request.token_ids[39]);
  EXPECT_EQ(recording->answers[0].prompt_top.size(), 78u);
  EXPECT_EQ(recording->answers[0], harness_.Expected(request, 0));
  EXPECT_EQ(recording->answers[1], harness_.Expected(request, 1));
}

// What was told before the group was lost is not asked of the next one. The prompt is cut in other
// places there: a stream that it had beside it is gone.
TEST_P(EngineTest, PromptLogprobsGoOnWhereTheLostGroupLeftThem) {
  harness_.FormGroup();
  harness_.Submit(MakeRequest("beside", 5, 50));
  harness_.RunStep();
  Request request = MakeRequest("a", 70, 3);
  request.prompt_logprobs = true;
  const auto recording = harness_.Submit(request);
  for (int i = 0; i < 4; ++i) harness_.RunStep();
  const size_t num_told = recording->answers[0].prompt_logprobs.size();
  ASSERT_TRUE(num_told > 16 && num_told % 16 != 0 && num_told < 60) << num_told;
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  ASSERT_TRUE(harness_.engine_.Cancel("beside", nullptr).ok());
  harness_.Turn();
  harness_.FormGroup(2);
  size_t num_asked = 0;
  while (!recording->end.has_value()) {
    for (const SequenceChunk& chunk : harness_.plans_.front().chunks)
      num_asked += static_cast<size_t>(std::ranges::count_if(
          chunk.score_token_ids, [](int32_t token_id) { return token_id >= 0; }));
    harness_.RunStep();
  }
  EXPECT_EQ(num_asked, 69 - num_told);
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
}

TEST_P(EngineTest, WithoutRoomForTokensThePromptAloneIsComputed) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 40, 0);
  request.prompt_logprobs = true;
  request.num_choices = 2;
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  EXPECT_EQ(*recording->end, OkStatus());
  EXPECT_EQ(recording->answers[0], harness_.Expected(request, 0));
  EXPECT_EQ(recording->answers[1], harness_.Expected(request, 1));
  EXPECT_EQ(recording->events.size(), 5u);
  EXPECT_EQ(recording->usage->prompt_tokens, 40);
  EXPECT_EQ(recording->usage->completion_tokens, 0);
  EXPECT_EQ(harness_.engine_.Stats().num_prompt_tokens, 80);
}

TEST_P(EngineTest, ACacheThatIsSmallerThanTheContextIsFullFirst) {
  GroupShape shape = SmallShape();
  shape.num_blocks = 4;
  EngineHarness harness(Config(), shape);
  harness.FormGroup();
  Request request = MakeRequest("a", 5, shape.num_blocks * shape.block_size - 5);
  request.ignore_eos = true;
  const auto recording = harness.Submit(request);
  harness.RunToEnd();
  EXPECT_EQ(recording->answers[0].finish_detail, "context_full");
}

TEST_P(EngineTest, APromptThatFillsTheContextCanBeComputedAlone) {
  harness_.FormGroup();
  Request request = MakeRequest("a", Config().max_model_len, 0);
  const auto recording = harness_.Submit(request);
  harness_.RunToEnd();
  ASSERT_TRUE(recording->end.has_value());
  EXPECT_EQ(*recording->end, OkStatus());
  EXPECT_EQ(recording->answers[0].finish_detail, "context_full");
}

// One token a step: all scores are there a chunk before the one that samples.
TEST_P(EngineTest, PromptLogprobsOfTheShortestChunksComeOnceToo) {
  EngineConfig config = Config();
  config.max_num_seqs = 1;
  config.max_num_batched_tokens = 1;
  EngineHarness harness(config);
  harness.FormGroup();
  Request request = MakeRequest("a", 2, 3);
  request.prompt_logprobs = true;
  const auto recording = harness.Submit(request);
  harness.RunToEnd();
  EXPECT_EQ(recording->events[0].prompt_logprobs.size(), 1u);
  EXPECT_EQ(recording->answers[0], harness.Expected(request));
}

TEST_P(EngineTest, ACancelledRequestEndsAtOnceAndItsBlocksAreBackWithinAStep) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 20, 60);
  request.ignore_eos = true;
  const auto recording = harness_.Submit(request);
  harness_.RunStep();
  harness_.RunStep();
  harness_.RunStep();
  std::optional<Status> done;
  ASSERT_TRUE(harness_.engine_.Cancel("a", [&](const Status& status) { done = status; }).ok());
  harness_.Turn();
  EXPECT_EQ(done, OkStatus());
  EXPECT_EQ(recording->end->code(), StatusCode::kCancelled);
  for (int32_t in_flight = GetParam() + 1; in_flight > 0; --in_flight) {
    EXPECT_LT(harness_.engine_.Stats().num_free_blocks, harness_.shape_.num_blocks);
    harness_.RunStep();
  }
  EXPECT_EQ(harness_.engine_.Stats().num_free_blocks, harness_.shape_.num_blocks);
  EXPECT_EQ(harness_.workers_->num_sequences(), 1u);  // The workers hear of it with the next plan:
  harness_.RunToEnd();
  EXPECT_EQ(harness_.workers_->num_sequences(), 0u);
}

// A second call with the id is refused, or goes away before it could be.
TEST_P(EngineTest, AClientThatGoesAwayEndsNoOtherCallsRequest) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 20, 60);
  request.call = 1;
  const auto recording = harness_.Submit(request);
  ASSERT_TRUE(harness_.engine_.CancelCall("a", 2).ok());
  harness_.Turn();
  EXPECT_FALSE(recording->end.has_value());
  ASSERT_TRUE(harness_.engine_.CancelCall("a", 1).ok());
  harness_.Turn();
  EXPECT_EQ(recording->end->code(), StatusCode::kCancelled);
}

TEST_P(EngineTest, CancellingWhatDoesNotRunIsNotFound) {
  harness_.FormGroup();
  std::optional<Status> done;
  ASSERT_TRUE(harness_.engine_.Cancel("nobody", [&](const Status& status) { done = status; }).ok());
  harness_.Turn();
  EXPECT_EQ(done->code(), StatusCode::kNotFound);
}

TEST_P(EngineTest, ADeadlineEndsRunningAndWaitingRequests) {
  harness_.FormGroup();
  Request first = MakeRequest("first", 20, 40);
  first.num_choices = 4;  // All places are taken: the second waits.
  first.deadline = harness_.clock_.Now() + seconds(5);
  Request second = MakeRequest("second", 5, 5);
  second.deadline = harness_.clock_.Now() + seconds(3);
  const auto running = harness_.Submit(first);
  const auto waiting = harness_.Submit(second);
  EXPECT_EQ(harness_.engine_.Stats().num_waiting, 1);
  harness_.clock_.Advance(seconds(3));
  harness_.Turn();
  EXPECT_EQ(waiting->end->code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(running->end.has_value());
  harness_.clock_.Advance(seconds(2));
  harness_.Turn();
  EXPECT_EQ(running->end->code(), StatusCode::kDeadlineExceeded);
  Request late = MakeRequest("late", 5, 5);
  late.deadline = harness_.clock_.Now();
  EXPECT_EQ(harness_.Submit(late)->end->code(), StatusCode::kDeadlineExceeded);
}

TEST_P(EngineTest, ARunningIdIsRefusedAndAFinishedOneIsFreeAgain) {
  harness_.FormGroup();
  const auto first = harness_.Submit(MakeRequest("a", 5, 5));
  EXPECT_EQ(harness_.Submit(MakeRequest("a", 5, 5))->end->code(), StatusCode::kAlreadyExists);
  harness_.RunToEnd();
  EXPECT_EQ(*first->end, OkStatus());
  EXPECT_FALSE(harness_.Submit(MakeRequest("a", 5, 5))->end.has_value());
}

TEST_P(EngineTest, RequestsOfALostGroupGoOnWithTheNextOneWhereTheyStood) {
  harness_.FormGroup();
  Request request = MakeRequest("a", 5, 50);
  request.num_choices = 4;
  request.prompt_logprobs = true;
  request.sampling.repetition_penalty = 1.2f;
  const auto running = harness_.Submit(request);
  const Request other = MakeRequest("b", 5, 5);
  const auto waiting = harness_.Submit(other);
  for (int i = 0; i < 4; ++i) harness_.RunStep();
  const size_t num_events = running->events.size();
  EXPECT_GT(num_events, 4u);
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness_.Turn();
  EXPECT_EQ(harness_.engine_.Stats().num_waiting, 5);
  EXPECT_EQ(harness_.Submit(MakeRequest("c", 5, 5))->end->ToString(),
            "UNAVAILABLE: no worker group is up: rank 1 was killed");
  EXPECT_EQ(running->events.size(), num_events);

  harness_.FormGroup(2);
  harness_.RunToEnd();
  EXPECT_EQ(running->end, OkStatus());
  for (uint32_t choice = 0; choice < 4; ++choice) {
    EXPECT_EQ(running->answers[choice], harness_.Expected(request, choice));
  }
  EXPECT_EQ(waiting->answers[0], harness_.Expected(other));
}

TEST_P(EngineTest, WhoWaitsForAGroupCanBeCancelledAndItsDeadlineHolds) {
  harness_.FormGroup();
  Request hurried = MakeRequest("hurried", 5, 50);
  hurried.deadline = harness_.clock_.Now() + std::chrono::seconds(1);
  const auto late = harness_.Submit(hurried);
  const auto unwanted = harness_.Submit(MakeRequest("unwanted", 5, 50));
  harness_.RunStep();
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness_.Turn();
  EXPECT_TRUE(harness_.engine_.Cancel("unwanted", nullptr).ok());
  harness_.clock_.Advance(std::chrono::seconds(2));
  harness_.Turn();
  EXPECT_EQ(unwanted->end->code(), StatusCode::kCancelled);
  EXPECT_EQ(late->end->code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(harness_.engine_.Stats().num_waiting, 0);
}

// Whatever else runs: the workers die of it whenever they compute its third token.
TEST_P(EngineTest, ARequestThatKillsEveryGroupEndsAloneAndTheOthersGoOn) {
  harness_.FormGroup();
  std::vector<std::pair<Request, std::shared_ptr<Recording>>> others;
  for (const char* id : {"a", "b"}) {
    const Request request = MakeRequest(id, 5, 20);
    others.emplace_back(request, harness_.Submit(request));
  }
  Request poison = MakeRequest("poison", 7, 40);
  poison.ignore_eos = true;
  const auto poisoned = harness_.Submit(poison);
  int64_t epoch = 1;
  for (int turn = 0; turn < 1000 && !harness_.plans_.empty(); ++turn) {
    const StepPlan& plan = harness_.plans_.front();
    const bool dies = std::any_of(plan.chunks.begin(), plan.chunks.end(), [](const auto& chunk) {
      const auto num_tokens = static_cast<int64_t>(chunk.token_ids.size());
      return chunk.output_position == 2 && chunk.num_computed_tokens + num_tokens == 7 + 2;
    });
    if (!dies) {
      harness_.RunStep();
      continue;
    }
    harness_.engine_.OnGroupDown(epoch, Unavailable("rank 1 was killed"));
    harness_.Turn();
    harness_.FormGroup(++epoch);
  }
  EXPECT_EQ(epoch, 4);
  ASSERT_TRUE(poisoned->end.has_value());
  EXPECT_EQ(
      poisoned->end->ToString(),
      "INTERNAL: the worker group was lost 3 times while it ran this request: rank 1 was killed");
  EXPECT_EQ(poisoned->answers[0].token_ids.size(), 2u);
  for (const auto& [request, recording] : others) {
    EXPECT_EQ(recording->answers[0], harness_.Expected(request));
  }
}

TEST_P(EngineTest, AGroupThatIsTooSmallForARequestEndsIt) {
  harness_.FormGroup();
  const auto recording = harness_.Submit(MakeRequest("a", 5, 100));
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  GroupShape small = harness_.shape_;
  small.num_blocks = 4;
  harness_.engine_.OnGroupUp(2, small);
  harness_.Turn();
  EXPECT_EQ(
      recording->end->ToString(),
      "UNAVAILABLE: the new worker group is smaller: prompt and answer need 14 KV blocks; the "
      "cache has 4");
}

TEST_P(EngineTest, OldNewsOfAGroupIsIgnored) {
  harness_.FormGroup(1);
  const Request request = MakeRequest("a", 5, 6);
  const auto recording = harness_.Submit(request);
  StepResult stale = harness_.workers_->Run(harness_.plans_.front());
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness_.Turn();
  harness_.FormGroup(2);
  EXPECT_EQ(harness_.plans_.front().epoch, 2);
  EXPECT_EQ(harness_.plans_.front().step, 1);
  harness_.engine_.OnStepResult(std::move(stale));
  harness_.engine_.OnGroupDown(1, Unavailable("late news"));
  harness_.engine_.OnGroupUp(1, harness_.shape_);
  harness_.Turn();
  harness_.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
}

TEST_P(EngineTest, AFailedStepAbandonsTheGroup) {
  harness_.FormGroup();
  const auto recording = harness_.Submit(MakeRequest("a", 5, 50));
  StepResult result = harness_.workers_->Run(harness_.plans_.front());
  result.status = Internal("rank 1: out of memory");
  harness_.engine_.OnStepResult(std::move(result));
  harness_.Turn();
  EXPECT_EQ(harness_.abandoned_, Internal("rank 1: out of memory"));
  EXPECT_FALSE(recording->end.has_value());
  EXPECT_FALSE(harness_.engine_.Stats().group_up);
}

TEST_P(EngineTest, BeforeTheFirstGroupRequestsAreToldSo) {
  EXPECT_EQ(harness_.Submit(MakeRequest("a", 5, 5))->end->ToString(),
            "UNAVAILABLE: no worker group is up yet");
}

TEST_P(EngineTest, ADrainLetsWhatRunsFinishAndRefusesTheRest) {
  harness_.FormGroup();
  const Request request = MakeRequest("a", 5, 8);
  const auto running = harness_.Submit(request);
  bool drained = false;
  ASSERT_TRUE(harness_.engine_.Drain([&] { drained = true; }).ok());
  harness_.Turn();
  EXPECT_EQ(harness_.Submit(MakeRequest("b", 5, 5))->end->code(), StatusCode::kUnavailable);
  EXPECT_FALSE(drained);
  harness_.RunToEnd();
  EXPECT_EQ(running->answers[0], harness_.Expected(request));
  EXPECT_TRUE(drained);
}

TEST_P(EngineTest, ARequestThatContradictsItselfIsRefusedOnTheSpot) {
  Request request = MakeRequest("a", 5, 5);
  request.positions.pop_back();
  const auto recording = std::make_shared<Recording>();
  const Status status = harness_.engine_.Submit(std::make_shared<const Request>(request),
                                                std::make_unique<RecordingSink>(recording));
  EXPECT_EQ(status.ToString(),
            "INVALID_ARGUMENT: the prompt has 14 positions; it needs 3 for each of 5 tokens");
  EXPECT_FALSE(recording->end.has_value());
}

// No turn runs, so commands pile up; a drain and the group's own messages still get through.
TEST_P(EngineTest, AFullMailboxRefusesRequestsButNotTheWorkers) {
  const Request request = MakeRequest("a", 1, 1);
  Status status;
  int num_taken = 0;
  while (status.ok() && num_taken < 10'000) {
    status =
        harness_.engine_.Submit(std::make_shared<const Request>(request),
                                std::make_unique<RecordingSink>(std::make_shared<Recording>()));
    num_taken += status.ok() ? 1 : 0;
  }
  EXPECT_EQ(
      status.ToString(),
      "RESOURCE_EXHAUSTED: 1024 commands wait for the engine; at most 1024 may; try again in 1 s");
  Status cancelled;
  for (int i = 0; cancelled.ok() && i < 10'000; ++i)
    cancelled = harness_.engine_.Cancel("a", nullptr);
  EXPECT_EQ(
      cancelled.ToString(),
      "RESOURCE_EXHAUSTED: 2048 commands wait for the engine; at most 2048 may; try again in 1 s");
  EXPECT_TRUE(harness_.engine_.CancelCall("a", 1).ok());  // A client's going away is never lost.
  EXPECT_EQ(harness_.engine_.Drain(nullptr), OkStatus());
  harness_.FormGroup();
  EXPECT_TRUE(harness_.engine_.Stats().group_up);
  EXPECT_TRUE(harness_.engine_.Stats().draining);
}

TEST_P(EngineTest, AgesGrowOnlyWhileSomethingIsDue) {
  harness_.FormGroup();
  harness_.clock_.Advance(seconds(9));
  harness_.Turn();
  EXPECT_EQ(harness_.engine_.Stats().last_token_age, Duration::zero());
  harness_.Submit(MakeRequest("a", 5, 50));
  harness_.clock_.Advance(seconds(2));
  harness_.Turn();
  EXPECT_EQ(harness_.engine_.Stats().last_token_age, seconds(2));
  EXPECT_EQ(harness_.engine_.Stats().last_step_age, seconds(2));
  harness_.RunStep();
  EXPECT_EQ(harness_.engine_.Stats().last_token_age, Duration::zero());
  EXPECT_EQ(harness_.engine_.Stats().last_step_age, Duration::zero());
}

INSTANTIATE_TEST_SUITE_P(Depth, EngineTest, testing::Values(0, 1));

}  // namespace
}  // namespace longhand::engine
