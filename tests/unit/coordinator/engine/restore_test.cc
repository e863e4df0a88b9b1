// Requests that another engine had, and the gate that holds an engine back.
#include <gtest/gtest.h>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

class RestoreTest : public testing::TestWithParam<int32_t> {
 protected:
  static EngineConfig Config() {
    EngineConfig config = SmallConfig();
    config.pipeline_depth = GetParam();
    return config;
  }

  static std::shared_ptr<Recording> Undisturbed(const Request& request) {
    EngineHarness whole(Config());
    whole.FormGroup();
    auto undisturbed = whole.Submit(request);
    whole.RunToEnd();
    return undisturbed;
  }

  // What the first `num_events` of a whole run leave behind.
  static Recording FirstEvents(const Request& request, size_t num_events) {
    const auto recording = Undisturbed(request);
    auto beginning = std::make_shared<Recording>();
    RecordingSink sink(beginning);
    sink.OnAccepted();
    for (size_t i = 0; i < num_events; ++i) sink.OnEvent(recording->events.at(i));
    return *beginning;
  }

  void ExpectItGoesOnAfterAnyOfItsEvents(const Request& request, const Recording& undisturbed) {
    for (size_t num_events = 0; num_events <= undisturbed.events.size(); ++num_events) {
      SCOPED_TRACE("after " + std::to_string(num_events) + " events");
      EngineHarness next(Config());
      const auto recording = next.Restore(request, FirstEvents(request, num_events));
      next.FormGroup();
      next.RunToEnd();
      ASSERT_TRUE(recording->end.has_value());
      EXPECT_EQ(*recording->end, OkStatus());
      EXPECT_EQ(recording->answers, undisturbed.answers);
      EXPECT_EQ(recording->events.size(), undisturbed.events.size());
      EXPECT_EQ(recording->usage->completion_tokens, undisturbed.usage->completion_tokens);
    }
  }

  EngineHarness harness_{Config()};
};

// Stop strings that are half seen, several answers, scores of the prompt: wherever it is cut.
TEST_P(RestoreTest, ARequestGoesOnAfterAnyOfItsEvents) {
  Request request = MakeRequest("a", 20, 12);
  request.num_choices = 2;
  request.prompt_logprobs = true;
  request.sampling.num_logprobs = 0;
  request.stop_strings = {"abc", "qrs", "z"};
  const auto undisturbed = Undisturbed(request);
  ASSERT_GT(undisturbed->events.size(), 4u);
  ExpectItGoesOnAfterAnyOfItsEvents(request, *undisturbed);
}

// Their ends are all that tells of answers without tokens.
TEST_P(RestoreTest, APromptAloneGoesOnAfterAnyOfItsEvents) {
  Request request = MakeRequest("a", 40, 0);
  request.num_choices = 2;
  request.prompt_logprobs = true;
  const auto undisturbed = Undisturbed(request);
  ASSERT_EQ(undisturbed->events.size(), 5u);
  ExpectItGoesOnAfterAnyOfItsEvents(request, *undisturbed);
}

TEST_P(RestoreTest, ItIsTakenWhileAGroupIsUpAndWhileTheEngineDrains) {
  const Request request = MakeRequest("a", 20, 12);
  harness_.FormGroup();
  ASSERT_TRUE(harness_.engine_.Drain(nullptr).ok());
  const auto recording = harness_.Restore(request, FirstEvents(request, 2));
  harness_.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
}

TEST_P(RestoreTest, WhatWasDeliveredMustFitTheRequest) {
  const Status status =
      harness_.engine_.Restore(std::make_shared<const Request>(MakeRequest("a", 5, 5)), {},
                               std::make_unique<RecordingSink>(std::make_shared<Recording>()));
  EXPECT_EQ(status.ToString(), "INVALID_ARGUMENT: tokens of 0 answers were delivered; n is 1");
}

TEST_P(RestoreTest, AFullGateHoldsPlansBackUntilThereIsRoom) {
  harness_.FormGroup();
  harness_.gate_.full = true;
  const Request request = MakeRequest("a", 5, 8);
  const auto recording = harness_.Submit(request);
  EXPECT_TRUE(harness_.plans_.empty());
  harness_.gate_.full = false;
  harness_.Turn();
  ASSERT_FALSE(harness_.plans_.empty());
  harness_.gate_.full = true;
  harness_.RunToEnd();  // what was sent
  EXPECT_FALSE(recording->end.has_value());
  harness_.gate_.full = false;
  harness_.Turn();
  harness_.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness_.Expected(request));
}

TEST_P(RestoreTest, AClosedGateRefusesNewRequestsAndRunningOnesGoOn) {
  harness_.FormGroup();
  const Request request = MakeRequest("a", 5, 8);
  const auto running = harness_.Submit(request);
  harness_.gate_.admission = Unavailable("the journal cannot be written: the disk is full");
  const auto refused = harness_.Submit(MakeRequest("b", 5, 8));
  EXPECT_EQ(*refused->end, harness_.gate_.admission);
  EXPECT_FALSE(refused->accepted);
  harness_.RunToEnd();
  EXPECT_EQ(running->answers[0], harness_.Expected(request));
}

INSTANTIATE_TEST_SUITE_P(Depth, RestoreTest, testing::Values(0, 1));

}  // namespace
}  // namespace longhand::engine
