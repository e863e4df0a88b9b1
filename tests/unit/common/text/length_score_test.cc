#include "common/text/length_score.h"

#include <gtest/gtest.h>

namespace longhand {
namespace {

// What the published code gives.
TEST(LengthScore, IsThatOfLongWriterVsCode) {
  const struct {
    int64_t written, wanted;
    double score;
  } samples[] = {{1000, 1000, 100},   {500, 1000, 66.6667}, {250, 1000, 0},
                 {251, 1000, 0.5312}, {1500, 1000, 75},     {2000, 1000, 50},
                 {3000, 1000, 0},     {900, 1000, 96.296},  {1100, 1000, 95},
                 {6176, 5000, 88.24}, {1628, 1600, 99.125}, {0, 0, 100},
                 {1, 5, 50},          {0, 7, 16.6667},      {0, 8, 0}};
  for (const auto& sample : samples) {
    EXPECT_NEAR(LengthScore(sample.written, sample.wanted), sample.score, 0.001)
        << sample.written << " of " << sample.wanted;
  }
}

}  // namespace
}  // namespace longhand
