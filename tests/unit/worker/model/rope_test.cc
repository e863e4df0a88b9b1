#include "worker/model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longhand::model {
namespace {

RopeConfig Yarn(double factor) {
  RopeConfig rope;
  rope.yarn_factor = factor;
  rope.original_max_position_embeddings = 32768;
  return rope;
}

TEST(Rope, FrequenciesFallFromOneByAConstantRatio) {
  const RopeFrequencies rope = ComputeRopeFrequencies(RopeConfig(), 128);
  ASSERT_EQ(rope.inv_freq.size(), 64u);
  EXPECT_EQ(rope.inv_freq[0], 1.0f);
  EXPECT_NEAR(rope.inv_freq[32], 1e-3f, 1e-9f);
  EXPECT_EQ(rope.attention_scaling, 1.0f);
}

// Fast frequencies are kept, slow ones slowed by the factor, with a ramp between.
TEST(Rope, YarnSlowsOnlySlowFrequencies) {
  const RopeFrequencies plain = ComputeRopeFrequencies(RopeConfig(), 128);
  const RopeFrequencies yarn = ComputeRopeFrequencies(Yarn(4), 128);
  EXPECT_EQ(yarn.inv_freq[0], plain.inv_freq[0]);
  EXPECT_EQ(yarn.inv_freq[63], plain.inv_freq[63] / 4);
  float last = 1.0f;
  for (size_t i = 0; i < 64; ++i) {
    const float ratio = yarn.inv_freq[i] / plain.inv_freq[i];
    EXPECT_LE(ratio, last + 1e-6f) << i;
    EXPECT_GE(ratio, 0.25f - 1e-6f) << i;
    last = ratio;
  }
  EXPECT_FLOAT_EQ(yarn.attention_scaling, 0.1f * std::log(4.0f) + 1.0f);
}

TEST(Rope, AYarnFactorOfOneChangesNothing) {
  EXPECT_EQ(ComputeRopeFrequencies(Yarn(1), 128).inv_freq,
            ComputeRopeFrequencies(RopeConfig(), 128).inv_freq);
}

TEST(Rope, AGivenAttentionFactorIsTaken) {
  for (const double factor : {4.0, 1.0}) {
    RopeConfig rope = Yarn(factor);
    rope.yarn_attention_factor = 1.5;
    EXPECT_EQ(ComputeRopeFrequencies(rope, 128).attention_scaling, 1.5f) << factor;
  }
}

}  // namespace
}  // namespace longhand::model
