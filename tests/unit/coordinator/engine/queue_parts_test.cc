// The small parts that admission and planning stand on.
#include <gtest/gtest.h>

#include <numeric>

#include "coordinator/engine/length_estimate.h"
#include "coordinator/engine/prefill_share.h"
#include "coordinator/engine/retry_advice.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

using std::chrono::seconds;
using Shares = std::vector<int64_t>;

TEST(SharePrefillTest, TheFirstGetsHalfAndTheShortestTheRest) {
  EXPECT_EQ(SharePrefill(100, {1000, 1000, 30}), (Shares{50, 20, 30}));
  EXPECT_EQ(SharePrefill(100, {1000, 20, 10}), (Shares{70, 20, 10}));
  EXPECT_EQ(SharePrefill(100, {10, 1000, 1000}), (Shares{10, 90, 0}));
  EXPECT_EQ(SharePrefill(1, {5, 5}), (Shares{1, 0}));
}

TEST(SharePrefillTest, WhoWaitsForAPictureIsPassedOver) {
  EXPECT_EQ(SharePrefill(100, {0, 1000, 0, 20}), (Shares{0, 80, 0, 20}));
  EXPECT_EQ(SharePrefill(100, {0, 0}), (Shares{0, 0}));
  EXPECT_EQ(SharePrefill(100, {}), Shares());
}

TEST(SharePrefillTest, NothingIsLeftOverWhileSomebodyWantsIt) {
  for (int64_t budget = 0; budget < 40; ++budget) {
    const Shares wanted = {7, 0, 3, 11, 1};
    const Shares shares = SharePrefill(budget, wanted);
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), int64_t{0}),
              std::min<int64_t>(budget, 22));
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_LE(shares[i], wanted[i]);
  }
}

TEST(LengthEstimateTest, NothingIsGuessedFromFew) {
  LengthEstimate lengths(0.8);
  const Request request = MakeRequest("a", 4, 500);
  for (int i = 0; i < 15; ++i) lengths.Observe(10, 8);
  EXPECT_EQ(lengths.Expect(request), 500);
  lengths.Observe(10, 8);
  EXPECT_EQ(lengths.Expect(request), 10);
}

TEST(LengthEstimateTest, FourInFiveAnswersAreNotLonger) {
  LengthEstimate lengths(0.8);
  for (int i = 1; i <= 100; ++i) lengths.Observe(i, 1);
  EXPECT_EQ(lengths.Expect(MakeRequest("a", 4, 500)), 80);
  for (int i = 0; i < 256; ++i) lengths.Observe(7, 1);  // what was before is forgotten
  EXPECT_EQ(lengths.Expect(MakeRequest("a", 4, 500)), 7);
}

TEST(LengthEstimateTest, TheRequestsOwnBoundsCount) {
  LengthEstimate lengths(0.8);
  for (int i = 0; i < 16; ++i) lengths.Observe(50, 40);
  Request request = MakeRequest("a", 4, 30);
  EXPECT_EQ(lengths.Expect(request), 30);
  request.max_tokens = 500;
  request.min_tokens = 90;
  EXPECT_EQ(lengths.Expect(request), 90);
  request.ignore_eos = true;  // nothing but max_tokens ends it
  EXPECT_EQ(lengths.Expect(request), 500);
  request.stop_strings = {"."};
  EXPECT_EQ(lengths.Expect(request), 90);
}

// 1.25 tokens a word, and 15% more to be safe.
TEST(LengthEstimateTest, AnAnswerWithATargetIsExpectedToTakeItsWords) {
  LengthEstimate lengths(0.8);
  Request request = MakeRequest("a", 4, 5000);
  request.target_words = 800;
  for (int i = 0; i < 15; ++i) lengths.Observe(50, 40);
  EXPECT_EQ(lengths.Expect(request), 5000);
  lengths.Observe(50, 40);
  EXPECT_EQ(lengths.Expect(request), 1150);
  request.ignore_eos = true;
  EXPECT_EQ(lengths.Expect(request), 1150);
  request.max_tokens = 900;
  EXPECT_EQ(lengths.Expect(request), 900);
}

TEST(LengthEstimateTest, AnswersWithoutWordsExpectTheMost) {
  LengthEstimate lengths(0.8);
  Request request = MakeRequest("a", 4, 500);
  request.target_words = 100;
  for (int i = 0; i < 16; ++i) lengths.Observe(50, 0);
  EXPECT_EQ(lengths.Expect(request), 500);
}

// 100 tokens a second, 50 tokens an answer: a place comes free every half second.
TEST(RetryAdviceTest, EachRefusedOneIsToldALaterPlace) {
  RetryAdvice advice;
  TimePoint now{};
  advice.OnIdle(now);
  for (int i = 0; i < 10; ++i) advice.OnTokens(100, now += seconds(1));
  EXPECT_EQ(advice.Refuse(1, 50, now), 1);
  EXPECT_EQ(advice.Refuse(3, 50, now), 2);
  EXPECT_EQ(advice.Refuse(4, 50, now), 4);
  for (int i = 0; i < 6; ++i) advice.OnPlaceFree();
  EXPECT_EQ(advice.Refuse(2, 50, now), 2);
}

TEST(RetryAdviceTest, IsBetweenASecondAndTenMinutes) {
  RetryAdvice slow;
  slow.OnTokens(1, TimePoint(seconds(1)));
  EXPECT_EQ(slow.Refuse(1, 1'000'000, TimePoint(seconds(1))), 600);
  RetryAdvice fast;
  fast.OnTokens(1'000'000, TimePoint(seconds(1)));
  EXPECT_EQ(fast.Refuse(1, 1, TimePoint(seconds(1))), 1);
}

// A burst upon a server that has made next to no token yet.
TEST(RetryAdviceTest, BeforeASecondOfTokensTheyComeBackOneASecond) {
  RetryAdvice advice;
  EXPECT_EQ(advice.Refuse(1, 1'000'000, TimePoint{}), 1);
  advice.OnTokens(1, TimePoint(std::chrono::milliseconds(10)));
  EXPECT_EQ(advice.Refuse(2, 1'000'000, TimePoint(std::chrono::milliseconds(10))), 3);
}

// Places are free, and the rate is what it was.
TEST(RetryAdviceTest, IdleTimeForgetsWhoWasRefusedAndNotTheRate) {
  RetryAdvice advice;
  TimePoint now{};
  for (int i = 0; i < 10; ++i) advice.OnTokens(100, now += seconds(1));
  EXPECT_EQ(advice.Refuse(500, 50, now), 250);
  advice.OnIdle(now += seconds(3600));
  EXPECT_EQ(advice.Refuse(4, 50, now), 2);
}

// An hour of silence says nothing about how fast tokens are made.
TEST(RetryAdviceTest, IdleTimeDoesNotCount) {
  RetryAdvice advice;
  TimePoint now{};
  advice.OnTokens(100, now += seconds(1));
  advice.OnIdle(now += seconds(3600));
  advice.OnTokens(100, now += seconds(1));
  EXPECT_EQ(advice.Refuse(1, 200, now), 2);
}

}  // namespace
}  // namespace longhand::engine
