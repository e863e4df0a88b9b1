#include "coordinator/engine/allowed_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/engine/answer.h"
#include "tests/unit/coordinator/engine/fake_constraint.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kEnd = 1, kStop = 33;

std::vector<uint32_t> Mask(const std::vector<int32_t>& ids) {
  std::vector<uint32_t> mask(2);
  for (const int32_t id : ids) mask[static_cast<size_t>(id / 32)] |= uint32_t{1} << (id % 32);
  return mask;
}

std::vector<uint32_t> Allowed(const std::vector<int32_t>& ids,
                              bool complete,
                              const TokenRules& rules = {}) {
  return AllowedTokens({.allowed = Mask(ids), .may_end = complete}, rules, {kEnd, kStop});
}

TEST(AllowedTokens, TheEndIsAllowedOnlyWhereTheFormIsWhole) {
  EXPECT_EQ(Allowed({7, 40}, false), Mask({7, 40}));
  EXPECT_EQ(Allowed({7, 40}, true), Mask({7, 40, kEnd, kStop}));
  EXPECT_EQ(Allowed({}, true), Mask({kEnd, kStop}));
}

TEST(AllowedTokens, AStopTokenThatIsTextIsNotSampledWhereItWouldCutTheForm) {
  EXPECT_EQ(Allowed({7, kStop}, false), Mask({7}));
  EXPECT_EQ(Allowed({kStop}, false), Mask({kStop}));  // The form leaves nothing else.
}

TEST(AllowedTokens, MinTokensHoldsTheEndBackWhereSomethingElseMayFollow) {
  EXPECT_EQ(Allowed({7}, true, {.may_end = false}), Mask({7}));
  EXPECT_EQ(Allowed({}, true, {.may_end = false}), Mask({kEnd, kStop}));
}

TEST(AllowedTokens, TheGuardBansNoTokenThatIsTheOnlyOne) {
  EXPECT_EQ(Allowed({7, 8}, false, {.banned_ids = {7}}), Mask({8}));
  EXPECT_EQ(Allowed({7}, false, {.banned_ids = {7}}), Mask({7}));
}

TEST(AllowedTokens, StopIdsThatTheModelDoesNotHaveArePassedOver) {
  EXPECT_EQ(AllowedTokens({.allowed = Mask({7}), .may_end = true}, {}, {64, 151'645}), Mask({7}));
}

// "a" (token 2), then "b" (3), once or twice.
class TwoOrThree : public TokenConstraint {
 public:
  Status Append(int32_t token_id) override {
    ++num_tokens_;
    return token_id <= 3 ? OkStatus() : InvalidArgument("no");
  }
  bool must_end() const override { return num_tokens_ == 3; }
  Result<Next> FindNext() override {
    return Next{.allowed = Mask({num_tokens_ == 0 ? 2 : 3}), .may_end = num_tokens_ >= 2};
  }

 private:
  int num_tokens_ = 0;
};

class ConstrainedAnswer : public ::testing::Test {
 protected:
  ConstrainedAnswer() { config_.eos_token_ids = {kFakeEos}; }
  Answer Begin() const {
    return Answer(request_, 0, config_, FakeTextFactory().Create({}, 0),
                  std::make_unique<TwoOrThree>());
  }

  EngineConfig config_;
  Request request_ = MakeRequest("a", 4, 100);
};

TEST_F(ConstrainedAnswer, EndsWithTheTokenBehindWhichNothingFollows) {
  Answer answer = Begin();
  EXPECT_FALSE(answer.Append({.token_id = 2}).finish_reason.has_value());
  EXPECT_FALSE(answer.Append({.token_id = 3}).finish_reason.has_value());
  const TokenEvent last = answer.Append({.token_id = 3});
  EXPECT_EQ(last.finish_reason, FinishReason::kStop);
  EXPECT_EQ(last.finish_detail, "grammar_complete");
}

// The form has come to its end, and no more tokens are wanted either: it is whole.
TEST_F(ConstrainedAnswer, IsWholeWhereMaxTokensEndsItToo) {
  request_.max_tokens = 3;
  Answer answer = Begin();
  answer.Append({.token_id = 2});
  answer.Append({.token_id = 3});
  EXPECT_EQ(answer.Append({.token_id = 3}).finish_detail, "grammar_complete");
}

TEST_F(ConstrainedAnswer, MayEndItselfWhereTheFormIsWhole) {
  Answer answer = Begin();
  EXPECT_EQ(answer.FindAllowedTokens().value(), Mask({2}));
  answer.Append({.token_id = 2});
  answer.Append({.token_id = 3});
  EXPECT_EQ(answer.FindAllowedTokens().value(), Mask({3, kFakeEos}));
  EXPECT_EQ(answer.Append({.token_id = kFakeEos}).finish_detail, "eos");
}

TEST_F(ConstrainedAnswer, SaysWhenItsFormCannotBeFollowed) {
  Answer answer = Begin();
  answer.Append({.token_id = 9});
  EXPECT_EQ(answer.FindAllowedTokens().status().message(), "no");
}

TEST(ConstrainedRequest, HasNoTargetOfWords) {
  Request request = MakeRequest("a", 4, 100);
  request.constraint = std::make_shared<const FakeConstraintFactory>(1);
  EXPECT_TRUE(CheckRequest(request).ok());
  request.target_words = 10;
  EXPECT_THAT(CheckRequest(request).message(), HasSubstr("only one of the two can be kept"));
}

}  // namespace
}  // namespace longhand::engine
