#include "common/text/length_score.h"

#include <gtest/gtest.h>

namespace longhand {
namespace {

// As the published code scores them.
TEST(LengthScore, IsThePublishedCodes) {
  struct Case {
    int64_t written, wanted;
    double score;
  };
  const Case cases[] = {
      {500, 1000, 66.6667}, {250, 1000, 0},   {251, 1000, 0.5312}, {1500, 1000, 75},
      {2000, 1000, 50},     {3000, 1000, 0},  {900, 1000, 96.296}, {950, 1000, 98.246},
      {1050, 1000, 97.5},   {1100, 1000, 95}, {6176, 5000, 88.24}, {1628, 1600, 99.125},
      {0, 0, 100},          {1, 5, 50},       {0, 7, 16.6667},     {0, 8, 0},
      {1000, 1000, 100},    {100000, 1, 0}};
  for (const Case& each : cases) {
    EXPECT_NEAR(LengthScore(each.written, each.wanted), each.score, 0.0005)
        << each.written << " of " << each.wanted;
  }
}

}  // namespace
}  // namespace longhand
