#include "coordinator/engine/repetition_guard.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace longhand::engine {
namespace {

// Tokens that no guard minds.
void AppendNoise(RepetitionGuard& guard, int count, uint32_t seed) {
  std::mt19937 random(seed);
  for (int i = 0; i < count; ++i) guard.Append(static_cast<int32_t>(random() % 50'000));
}

// Goes round `period` tokens until a loop is seen; how many tokens that took, at most `most`.
int Loop(RepetitionGuard& guard, int period, int most) {
  for (int i = 0; i < most; ++i) {
    if (guard.Continuation().has_value()) return i;
    guard.Append(100'000 + i % period);
  }
  return most;
}

TEST(RepetitionGuard, SeesALoopAfterThreeTimesAndSixtyFourTokens) {
  struct Case {
    int period, tokens;
  };
  for (const auto& [period, tokens] :
       {Case{1, 65}, Case{2, 66}, Case{20, 84}, Case{32, 96}, Case{100, 300}, Case{512, 1536}}) {
    SCOPED_TRACE(period);
    RepetitionGuard guard;
    AppendNoise(guard, 2000, 7);
    EXPECT_FALSE(guard.Continuation().has_value());
    EXPECT_EQ(Loop(guard, period, 5000), tokens);
    EXPECT_EQ(guard.num_loops(), 1);
  }
}

TEST(RepetitionGuard, SaysWhatWouldComeAfterTheNextToken) {
  for (const int period : {1, 2, 3, 70}) {
    SCOPED_TRACE(period);
    RepetitionGuard guard;
    const int num_tokens = Loop(guard, period, 5000);
    EXPECT_EQ(guard.Continuation(), 100'000 + (num_tokens + 1) % period);
    guard.Append(100'000 + num_tokens % period);
    EXPECT_EQ(guard.Continuation(), 100'000 + (num_tokens + 2) % period);
    EXPECT_EQ(guard.num_loops(), 1);
  }
}

TEST(RepetitionGuard, APeriodThatIsTooLongIsNoLoop) {
  RepetitionGuard guard;
  EXPECT_EQ(Loop(guard, 513, 5000), 5000);
}

TEST(RepetitionGuard, OtherTokensEndALoopAndItsReturnIsSeenEarlier) {
  RepetitionGuard guard;
  EXPECT_EQ(Loop(guard, 20, 500), 84);
  AppendNoise(guard, 10, 3);
  EXPECT_FALSE(guard.Continuation().has_value());
  EXPECT_EQ(Loop(guard, 20, 500), 40);
  EXPECT_EQ(guard.num_loops(), 2);
  AppendNoise(guard, 2000, 4);  // long ago
  EXPECT_EQ(Loop(guard, 20, 500), 84);
}

TEST(RepetitionGuard, SixteenLoopsAreTooMany) {
  RepetitionGuard guard;
  for (int i = 1; i <= 16; ++i) {
    EXPECT_FALSE(guard.is_stuck());
    Loop(guard, 5, 500);
    if (i < 16) AppendNoise(guard, 3, static_cast<uint32_t>(i));
  }
  EXPECT_TRUE(guard.is_stuck());
}

}  // namespace
}  // namespace longhand::engine
