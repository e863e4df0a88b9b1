#include "coordinator/engine/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/engine/fake_model.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AnswerTest : public ::testing::Test {
 protected:
  AnswerTest() { config_.eos_token_ids = {kFakeEos}; }
  Answer Begin() const {
    return Answer(request_, 0, config_,
                  FakeTextFactory().Create(request_.stop_strings, request_.target_words));
  }

  EngineConfig config_;
  Request request_ = MakeRequest("a", 4, 10'000);
};

TEST_F(AnswerTest, MinTokensCountThePositionThatIsSampled) {
  request_.min_tokens = 3;
  Answer answer = Begin();
  for (const bool next_may_end : {false, false, false, true}) {
    EXPECT_EQ(answer.rules()[0].may_end, next_may_end) << answer.num_tokens();
    answer.Append({.token_id = 2});
    if (answer.num_tokens() < 4) {
      EXPECT_EQ(answer.rules()[1].may_end, answer.num_tokens() + 1 >= 3);
    }
  }
}

// A word a token; half of ten words is enough to end. The latest token is not looked at.
TEST_F(AnswerTest, ATargetHoldsTheEndBackByTheTokensBeforeTheLatest) {
  request_.target_words = 10;
  Answer answer = Begin();
  for (int known = 0; known < 9; ++known) {
    EXPECT_EQ(answer.rules()[0].may_end, known - 1 >= 5) << known;
    EXPECT_EQ(answer.rules()[1].may_end, known >= 5) << known;
    EXPECT_FALSE(answer.Append({.token_id = 2}).finish_reason.has_value());
  }
  const TokenEvent last = answer.Append({.token_id = 2});
  EXPECT_EQ(last.finish_reason, FinishReason::kStop);
  EXPECT_EQ(last.finish_detail, "target_reached");
  EXPECT_EQ(last.length->target_words, 10);
  EXPECT_EQ(last.length->words, 10);
}

TEST_F(AnswerTest, AnAnswerWithATargetThatEndsOtherwiseReportsItsLengthToo) {
  request_.target_words = 10;
  Answer answer = Begin();
  for (int i = 0; i < 6; ++i) answer.Append({.token_id = 2});
  const TokenEvent last = answer.Append({.token_id = kFakeEos});
  EXPECT_EQ(last.finish_detail, "eos");
  EXPECT_EQ(last.length->words, 6);
}

TEST_F(AnswerTest, WithoutATargetNoLengthIsReported) {
  Answer answer = Begin();
  EXPECT_FALSE(answer.Append({.token_id = kFakeEos}).length.has_value());
}

TEST_F(AnswerTest, TheGuardBansWhatWouldGoOnWithALoop) {
  request_.repetition_guard = true;
  Answer answer = Begin();
  for (int i = 0; i < 65; ++i) {
    EXPECT_THAT(answer.rules()[1].banned_ids, IsEmpty());
    answer.Append({.token_id = 2});
  }
  EXPECT_THAT(answer.rules()[0].banned_ids, IsEmpty());
  EXPECT_THAT(answer.rules()[1].banned_ids, ElementsAre(2));
  answer.Append({.token_id = 2});
  EXPECT_THAT(answer.rules()[0].banned_ids, ElementsAre(2));
  answer.Append({.token_id = 3});
  EXPECT_THAT(answer.rules()[1].banned_ids, IsEmpty());
  EXPECT_EQ(answer.num_loops(), 1);
}

TEST_F(AnswerTest, AnAnswerThatCannotBeLedOutOfItsLoopsEnds) {
  request_.repetition_guard = true;
  Answer answer = Begin();
  TokenEvent event;
  while (!event.finish_reason.has_value()) {
    const bool is_banned = !answer.rules()[0].banned_ids.empty();
    event = answer.Append({.token_id = is_banned ? 3 : 2});
  }
  EXPECT_EQ(event.finish_reason, FinishReason::kLength);
  EXPECT_EQ(event.finish_detail, "repetition");
  EXPECT_LT(answer.num_tokens(), 1000);
}

TEST_F(AnswerTest, WithoutTheGuardALoopGoesOn) {
  request_.max_tokens = 2000;
  Answer answer = Begin();
  TokenEvent event;
  while (!event.finish_reason.has_value()) event = answer.Append({.token_id = 2});
  EXPECT_EQ(event.finish_detail, "max_tokens");
}

}  // namespace
}  // namespace longhand::engine
