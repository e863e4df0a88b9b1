// Requests over several groups: where each goes, and how it goes on elsewhere.
#include "coordinator/engine/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST(ChooseGroup, TheLeastWorkWins) {
  const std::array groups = {GroupLoad{true, 900}, GroupLoad{true, 100}, GroupLoad{true, 500}};
  for (uint64_t home = 0; home < 50; ++home) EXPECT_EQ(ChooseGroup(groups, home, 50), 1u);
}

// What the home can spare the request is its prompt, so that is what it may have more.
TEST(ChooseGroup, PromptsThatBeginAlikeHaveOneHomeWithinWhatItCanSpare) {
  for (uint64_t home = 0; home < 50; ++home) {
    std::array groups = {GroupLoad{true, 0}, GroupLoad{true, 0}, GroupLoad{true, 0}};
    const size_t at_home = ChooseGroup(groups, home, 100);
    groups[at_home].num_tokens = 100;
    EXPECT_EQ(ChooseGroup(groups, home, 100), at_home);
    groups[at_home].num_tokens = 101;
    EXPECT_NE(ChooseGroup(groups, home, 100), at_home);
  }
}

TEST(ChooseGroup, HomesAreSpreadAndStayWhenAnotherGroupGoes) {
  std::array<int, 3> num_homes{};
  for (uint64_t home = 0; home < 300; ++home) {
    std::array groups = {GroupLoad{true, 0}, GroupLoad{true, 0}, GroupLoad{true, 0}};
    const size_t at_home = ChooseGroup(groups, home, 100);
    ++num_homes[at_home];
    groups[2].is_up = false;
    const size_t now = ChooseGroup(groups, home, 100);
    EXPECT_NE(now, 2u);
    EXPECT_TRUE(at_home == 2 || now == at_home);
  }
  for (const int count : num_homes) EXPECT_GT(count, 60);
}

TEST(ChooseGroup, GroupsThatAreDownArePassedOverUnlessAllAre) {
  std::array groups = {GroupLoad{false, 0}, GroupLoad{true, 1000}};
  EXPECT_EQ(ChooseGroup(groups, 1, 10), 1u);
  groups[1].is_up = false;
  EXPECT_EQ(ChooseGroup(groups, 1, 10), 0u);
}

TEST(HomeKey, IsOfWhatKvBlocksAreSharedBy) {
  const Request request = MakeRequest("a", 100, 10);
  Request other = MakeRequest("b", 100, 99);
  EXPECT_EQ(HomeKey(other), HomeKey(request));
  other.token_ids[70] ^= 1;
  EXPECT_EQ(HomeKey(other), HomeKey(request)) << "the beginning is the same";
  other.token_ids[20] ^= 1;
  EXPECT_NE(HomeKey(other), HomeKey(request));
  other = request;
  other.cache_salt = "salt";
  EXPECT_NE(HomeKey(other), HomeKey(request));
  other = request;
  other.tenant = "tenant";
  EXPECT_NE(HomeKey(other), HomeKey(request));
  Request one_picture = request, another = request;
  AddImage(one_picture, 10, 4, /*picture=*/1);
  AddImage(another, 10, 4, /*picture=*/2);
  EXPECT_NE(HomeKey(one_picture), HomeKey(another));
}

Request Endless(const std::string& id, int64_t max_tokens, uint64_t salt = 7) {
  Request request = MakeRequest(id, 5, max_tokens, salt);
  request.ignore_eos = true;
  return request;
}

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    for (EngineHarness* group : groups_) router_.Join(group->engine_);
  }

  void FormGroups() {
    for (EngineHarness* group : groups_) group->FormGroup();
  }
  void Turn() {
    for (EngineHarness* group : groups_) group->Turn();
  }
  void Lose(EngineHarness& group) {
    group.engine_.OnGroupDown(group.epoch_, Unavailable("a host is gone"));
    group.plans_.clear();
    group.Turn();
  }
  void Pass(milliseconds time) {
    for (EngineHarness* group : groups_) group->clock_.Advance(time);
    Turn();
    Turn();  // What one gave, another takes.
  }
  std::shared_ptr<Recording> Submit(const Request& request) {
    auto recording = std::make_shared<Recording>();
    EXPECT_TRUE(router_.Submit(request, std::make_unique<RecordingSink>(recording)).ok());
    Turn();
    Turn();
    return recording;
  }
  void RunToEnd() {
    for (EngineHarness* group : groups_) group->RunToEnd();
  }
  int64_t NumOpen(EngineHarness& group) const {
    const EngineStats stats = group.engine_.Stats();
    return stats.num_running + stats.num_waiting;
  }
  // The group that has the only request.
  EngineHarness& Owner() { return NumOpen(first_) > 0 ? first_ : second_; }
  EngineHarness& Other(const EngineHarness& group) { return &group == &first_ ? second_ : first_; }
  void ExpectAnswered(const Recording& recording, const Request& request) {
    ASSERT_TRUE(recording.end.has_value()) << request.request_id;
    EXPECT_EQ(*recording.end, OkStatus()) << request.request_id;
    for (uint32_t i = 0; i < request.num_choices; ++i)
      EXPECT_EQ(recording.answers.at(i), first_.Expected(request, i)) << request.request_id;
  }

  Router router_;
  const std::shared_ptr<QueueTotals> totals_ = std::make_shared<QueueTotals>();
  EngineHarness first_{SmallConfig(), SmallShape(), NoMetrics(), totals_};
  EngineHarness second_{SmallConfig(), SmallShape(), NoMetrics(), totals_};
  const std::array<EngineHarness*, 2> groups_ = {&first_, &second_};
};

TEST_F(RouterTest, RequestsAreDividedByTheirWork) {
  FormGroups();
  for (int i = 0; i < 6; ++i) Submit(Endless(std::to_string(i), 40, static_cast<uint64_t>(i)));
  EXPECT_EQ(NumOpen(first_), 3);
  EXPECT_EQ(NumOpen(second_), 3);
  RunToEnd();
  const auto idle = Submit(Endless("next", 40));
  EXPECT_EQ(NumOpen(first_) + NumOpen(second_), 1) << "what is over is work no more";
}

TEST_F(RouterTest, NobodyGoesToAGroupThatIsDown) {
  first_.FormGroup();
  for (int i = 0; i < 4; ++i) Submit(Endless(std::to_string(i), 40, static_cast<uint64_t>(i)));
  EXPECT_EQ(NumOpen(first_), 4);
}

TEST_F(RouterTest, WithoutAnyGroupNewRequestsAreUnavailable) {
  const auto refused = Submit(Endless("a", 4));
  EXPECT_EQ(refused->end->ToString(), "UNAVAILABLE: no worker group is up yet");
  EXPECT_FALSE(refused->accepted);
}

// The group is lost between the router's choice and the engine's turn.
TEST_F(RouterTest, ANewRequestThatFindsItsGroupLostIsSubmittedElsewhere) {
  FormGroups();
  for (EngineHarness* lost : groups_) {
    const Request request =
        Endless("for " + std::to_string(lost == &first_), 8, lost == &first_ ? 1 : 2);
    EngineHarness& other = Other(*lost);
    other.clock_.Advance(milliseconds(1));
    lost->engine_.OnGroupDown(lost->epoch_, Unavailable("lost"));
    lost->plans_.clear();
    std::vector<std::shared_ptr<Recording>> recordings;
    for (int i = 0; i < 2; ++i) {  // One for each group.
      Request each = request;
      each.request_id += std::to_string(i);
      recordings.push_back(std::make_shared<Recording>());
      ASSERT_TRUE(router_.Submit(each, std::make_unique<RecordingSink>(recordings.back())).ok());
    }
    Turn();
    Turn();
    EXPECT_EQ(NumOpen(other), 2);
    RunToEnd();
    for (const auto& recording : recordings) ExpectAnswered(*recording, request);
    lost->FormGroup(lost->epoch_ + 1);
  }
}

// Stop strings that are half seen, several answers, scores of the prompt, wherever it is cut; and
// the neighbour's own request goes on beside it.
TEST_F(RouterTest, ARequestWhoseGroupIsLostForLongGoesOnElsewhere) {
  Request request = MakeRequest("a", 20, 12);
  request.num_choices = 2;
  request.prompt_logprobs = true;
  request.sampling.num_logprobs = 0;
  request.stop_strings = {"abc", "qrs", "z"};
  for (int num_steps = 0; num_steps < 12; ++num_steps) {
    SCOPED_TRACE("after " + std::to_string(num_steps) + " steps");
    for (EngineHarness* group : groups_) group->FormGroup(group->epoch_ + 1);
    const auto recording = Submit(request);
    EngineHarness& lost = Owner();
    EngineHarness& other = Other(lost);
    const Request neighbour = Endless("neighbour", 30);
    const auto beside = Submit(neighbour);
    ASSERT_EQ(NumOpen(other), 1);
    for (int i = 0; i < num_steps && !lost.plans_.empty(); ++i) lost.RunStep();
    if (recording->end.has_value()) {
      RunToEnd();
      continue;
    }
    Lose(lost);
    Pass(milliseconds(1900));
    EXPECT_EQ(NumOpen(other), 1) << "its group may come back";
    Pass(milliseconds(200));
    EXPECT_EQ(NumOpen(lost), 0);
    RunToEnd();
    ExpectAnswered(*recording, request);
    ExpectAnswered(*beside, neighbour);
  }
}

TEST_F(RouterTest, WhatTheOldGroupStillSaysIsNotBelieved) {
  FormGroups();
  const Request request = Endless("a", 12);
  const auto recording = Submit(request);
  EngineHarness& lost = Owner();
  lost.RunStep();
  StepResult late = lost.workers_->Run(lost.plans_.front());
  Lose(lost);
  Pass(milliseconds(2100));
  lost.engine_.OnStepResult(late);
  Turn();
  RunToEnd();
  lost.engine_.OnStepResult(late);
  Turn();
  ExpectAnswered(*recording, request);
}

TEST_F(RouterTest, WhileNoOtherGroupIsUpRequestsStay) {
  FormGroups();
  const Request request = Endless("a", 12);
  const auto recording = Submit(request);
  EngineHarness& owner = Owner();
  Lose(Other(owner));
  Lose(owner);
  Pass(milliseconds(10'000));
  EXPECT_EQ(NumOpen(owner), 1);
  owner.FormGroup(owner.epoch_ + 1);
  RunToEnd();
  ExpectAnswered(*recording, request);
}

TEST_F(RouterTest, ARestoredRequestGoesOnWithWhicheverGroupComesUp) {
  const Request request = Endless("a", 12);
  FormGroups();
  const auto whole = Submit(request);
  RunToEnd();
  for (EngineHarness* group : groups_) Lose(*group);
  auto recording = std::make_shared<Recording>();
  RecordingSink begun(recording);
  begun.OnAccepted();
  for (int i = 0; i < 5; ++i) begun.OnEvent(whole->events[i]);
  ASSERT_TRUE(router_
                  .Restore(request, DeliveredOf(request, *recording),
                           std::make_unique<RecordingSink>(recording))
                  .ok());
  Turn();
  EngineHarness& other = Other(Owner());
  other.FormGroup(other.epoch_ + 1);
  Pass(milliseconds(2100));
  RunToEnd();
  ExpectAnswered(*recording, request);
}

TEST_F(RouterTest, ARequestThatKillsItsWorkersIsGivenUpWhereverItGoes) {
  FormGroups();
  const auto recording = Submit(Endless("a", 12));
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(recording->end.has_value());
    EngineHarness& lost = Owner();
    ASSERT_FALSE(lost.plans_.empty());
    Lose(lost);
    Pass(milliseconds(2100));
    lost.FormGroup(lost.epoch_ + 1);
  }
  ASSERT_TRUE(recording->end.has_value());
  EXPECT_EQ(recording->end->code(), StatusCode::kInternal);
}

TEST_F(RouterTest, CancelFindsTheGroup) {
  FormGroups();
  std::vector<std::shared_ptr<Recording>> recordings;
  for (int i = 0; i < 4; ++i)
    recordings.push_back(Submit(Endless(std::to_string(i), 40, static_cast<uint64_t>(i))));
  for (int i = 0; i < 4; ++i) {
    Status told = Internal("nothing");
    EXPECT_TRUE(router_.Cancel(std::to_string(i), [&](const Status& s) { told = s; }).ok());
    Turn();
    EXPECT_EQ(told, OkStatus());
    EXPECT_EQ(recordings[static_cast<size_t>(i)]->end->code(), StatusCode::kCancelled);
  }
  Status told;
  EXPECT_TRUE(router_.Cancel("unknown", [&](const Status& s) { told = s; }).ok());
  EXPECT_EQ(told.ToString(), "NOT_FOUND: no request 'unknown' is running");
}

// Tells the sink it holds, and calls out with the first event.
class MeddlingSink final : public TokenSink {
 public:
  MeddlingSink(std::shared_ptr<Recording> recording, std::function<void()> meddle)
      : sink_(std::move(recording)), meddle_(std::move(meddle)) {}
  void OnAccepted() override { sink_.OnAccepted(); }
  void OnEvent(TokenEvent event) override {
    sink_.OnEvent(std::move(event));
    if (meddle_) std::exchange(meddle_, nullptr)();
  }
  void OnEnd(const Status& status) override { sink_.OnEnd(status); }

 private:
  RecordingSink sink_;
  std::function<void()> meddle_;
};

// The word comes to the old engine in the very turn in which it gives the request away.
TEST_F(RouterTest, ACancellationFollowsARequestThatMoves) {
  for (const bool of_call : {false, true}) {
    for (EngineHarness* group : groups_) group->FormGroup(group->epoch_ + 1);
    auto recording = std::make_shared<Recording>();
    Request request = Endless(of_call ? "of call" : "by id", 40);
    request.call = 17;
    EngineHarness* owner = nullptr;
    Status told = Internal("nothing");
    const auto meddle = [&] {
      owner->clock_.Advance(milliseconds(2100));
      if (of_call) {
        EXPECT_TRUE(router_.CancelCall(request.request_id, 17).ok());
      } else {
        EXPECT_TRUE(
            router_.Cancel(request.request_id, [&](const Status& status) { told = status; }).ok());
      }
    };
    ASSERT_TRUE(router_.Submit(request, std::make_unique<MeddlingSink>(recording, meddle)).ok());
    Turn();
    owner = &Owner();
    owner->engine_.OnStepResult(owner->workers_->Run(owner->plans_.front()));
    owner->engine_.OnGroupDown(owner->epoch_, Unavailable("lost"));
    owner->plans_.clear();
    owner->Turn();
    EXPECT_EQ(NumOpen(*owner), 0) << "it was given away";
    for (int i = 0; i < 3; ++i) Turn();
    ASSERT_TRUE(recording->end.has_value());
    EXPECT_EQ(recording->end->code(), StatusCode::kCancelled);
    EXPECT_EQ(told.ok(), !of_call);
    RunToEnd();
  }
}

TEST_F(RouterTest, AnothersCallOfTheSameIdIsNotCancelled) {
  FormGroups();
  Request request = Endless("a", 12);
  request.call = 2;
  const auto recording = Submit(request);
  EXPECT_TRUE(router_.CancelCall("a", 1).ok());
  Turn();
  RunToEnd();
  ExpectAnswered(*recording, request);
}

TEST_F(RouterTest, DrainIsDoneWhenNothingIsLeftAnywhereEvenOfWhatMoves) {
  FormGroups();
  const Request request = Endless("a", 12);
  const auto recording = Submit(request);
  EngineHarness& lost = Owner();
  lost.RunStep();
  int num_done = 0;
  router_.Drain([&] { ++num_done; });
  Lose(lost);
  Pass(milliseconds(2100));
  EXPECT_EQ(NumOpen(lost), 0);
  EXPECT_EQ(num_done, 0);
  EXPECT_EQ(Submit(Endless("late", 4))->end->code(), StatusCode::kUnavailable);
  RunToEnd();
  for (int i = 0; i < 3; ++i) Turn();
  ExpectAnswered(*recording, request);
  EXPECT_EQ(num_done, 1);
}

TEST_F(RouterTest, DrainEndsWhenTheEnginesStop) {
  FormGroups();
  Submit(Endless("a", 12));
  int num_done = 0;
  router_.Drain([&] { ++num_done; });
  Turn();
  router_.Stop();
  for (EngineHarness* group : groups_) group->engine_.Run();
  EXPECT_EQ(num_done, 1);
}

TEST_F(RouterTest, TheBoundOfTheQueueIsOfAllGroupsTogether) {
  FormGroups();
  int num_taken = 0;
  std::shared_ptr<Recording> last;
  do {
    last = Submit(Endless(std::to_string(num_taken), 60, static_cast<uint64_t>(num_taken)));
    ++num_taken;
    // Plans say who waits; until then a free place is taken for one.
    for (EngineHarness* group : groups_) {
      if (!group->plans_.empty()) group->RunStep();
    }
  } while (!last->end.has_value() && num_taken < 100);
  int64_t num_running = 0;
  for (const EngineHarness* group : groups_) num_running += group->engine_.Stats().num_running;
  EXPECT_EQ(num_taken - 1, num_running + 8);
  EXPECT_EQ(last->end->code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(last->end->message(), HasSubstr("8 answers wait for a place"));
  EXPECT_EQ(totals_->total(), 8);
  Lose(first_);
  EXPECT_EQ(totals_->total(), second_.engine_.Stats().num_waiting);
}

TEST_F(RouterTest, EachEngineSpeaksForItself) {
  first_.FormGroup(3);
  std::vector<EngineStats> told;
  router_.GetStats([&](const std::vector<EngineStats>& stats) { told = stats; });
  Turn();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[0].group_up);
  EXPECT_FALSE(told[1].group_up);
  const EngineStats sum = Sum(told);
  EXPECT_TRUE(sum.group_up);
  EXPECT_EQ(sum.epoch, 3);
  EXPECT_EQ(sum.shape.num_blocks, first_.shape_.num_blocks);
}

// Groups come and go, steps run, clients leave, in any order: whatever was not cancelled is
// answered, and with the text that it has alone.
TEST_F(RouterTest, InAnyOrderOfThingsTheTextIsTheSame) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto chance = [&](double p) { return std::bernoulli_distribution(p)(random); };
    struct Asked {
      Request request;
      std::shared_ptr<Recording> recording;
      bool is_cancelled = false;
    };
    std::vector<Asked> all;
    for (EngineHarness* group : groups_) group->FormGroup(group->epoch_ + 1);
    for (int tick = 0; tick < 200; ++tick) {
      for (EngineHarness* group : groups_) {
        const bool is_up = group->engine_.has_group();
        if (is_up && !group->plans_.empty() && chance(0.7)) group->RunStep();
        // Seldom twice without a token in between: that would be the requests' fault.
        if (is_up && chance(0.01) && !all.empty()) Lose(*group);
        if (!is_up && chance(0.03)) group->FormGroup(group->epoch_ + 1);
      }
      if (chance(0.1)) {
        Asked& asked = all.emplace_back();
        const std::string id = std::to_string(seed) + "-" + std::to_string(all.size());
        asked.request = MakeRequest(id, 1 + static_cast<int64_t>(random() % 30),
                                    1 + static_cast<int64_t>(random() % 20), random());
        asked.request.num_choices = 1 + random() % 2;
        asked.recording = std::make_shared<Recording>();
        ASSERT_TRUE(
            router_.Submit(asked.request, std::make_unique<RecordingSink>(asked.recording)).ok());
      }
      if (chance(0.01) && !all.empty()) {
        Asked& asked = all[random() % all.size()];
        asked.is_cancelled = true;
        ASSERT_TRUE(router_.Cancel(asked.request.request_id, [](const Status&) {}).ok());
      }
      Pass(milliseconds(random() % 400));
    }
    for (EngineHarness* group : groups_) {
      if (!group->engine_.has_group()) group->FormGroup(group->epoch_ + 1);
    }
    for (int i = 0; i < 3; ++i) {
      Turn();
      RunToEnd();
    }
    for (const Asked& asked : all) {
      ASSERT_TRUE(asked.recording->end.has_value()) << asked.request.request_id;
      const StatusCode code = asked.recording->end->code();
      const bool was_refused = !asked.recording->accepted;
      const bool was_blamed = code == StatusCode::kInternal;
      if (was_refused || was_blamed || (asked.is_cancelled && code == StatusCode::kCancelled))
        continue;
      ExpectAnswered(*asked.recording, asked.request);
    }
    EXPECT_EQ(totals_->total(), 0);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace longhand::engine
