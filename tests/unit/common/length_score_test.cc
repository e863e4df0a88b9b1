#include "common/length_score.h"

#include <gtest/gtest.h>

namespace longhand {
namespace {

struct Golden {
  int64_t written;
  double wanted, code, paper;
};

// What LongWriter-V's code and the paper's formula give.
TEST(LengthScore, BothScoresAreThePublishedOnes) {
  constexpr Golden kGoldens[] = {
      {500, 1000, 66.6667, 50},      {250, 1000, 0, 0},
      {1500, 1000, 75, 83.3333},     {2000, 1000, 50, 66.6667},
      {3000, 1000, 0, 33.3333},      {900, 1000, 96.2963, 94.4444},
      {950, 1000, 98.2456, 97.3684}, {1050, 1000, 97.5, 98.3333},
      {1100, 1000, 95, 96.6667},     {6176, 5000, 88.24, 92.16},
      {1628, 1600, 99.125, 99.4167}, {1000, 1000, 100, 100},
  };
  for (const Golden& golden : kGoldens) {
    EXPECT_NEAR(LengthScore(golden.written, golden.wanted), golden.code, 1e-4)
        << golden.written << " of " << golden.wanted;
    EXPECT_NEAR(PaperLengthScore(golden.written, golden.wanted), golden.paper, 1e-4)
        << golden.written << " of " << golden.wanted;
  }
}

TEST(LengthScore, BothLengthsCountTwoAtLeast) {
  EXPECT_NEAR(LengthScore(251, 1000), 0.5312, 1e-4);
  EXPECT_DOUBLE_EQ(LengthScore(0, 0), 100);
  EXPECT_DOUBLE_EQ(LengthScore(1, 5), 50);
  EXPECT_NEAR(LengthScore(0, 7), 16.6667, 1e-4);
  EXPECT_DOUBLE_EQ(LengthScore(0, 8), 0);
}

}  // namespace
}  // namespace longhand
