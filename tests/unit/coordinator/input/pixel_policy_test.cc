#include "coordinator/input/pixel_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::input {
namespace {

using ::testing::HasSubstr;

constexpr ImagePolicy kCheckpoint{.min_pixels = 3136, .max_pixels = 100352};

TEST(PixelPolicy, EachNameHasItsLimits) {
  const PixelPolicy checkpoint = MakePixelPolicy("checkpoint", kCheckpoint, 0, 0).value();
  EXPECT_EQ(checkpoint.min_pixels, 3136);
  EXPECT_EQ(checkpoint.max_pixels, 100352);
  EXPECT_EQ(checkpoint.ToString(), "3136 to 100352 pixels");
  const PixelPolicy longwriter = MakePixelPolicy("longwriter", kCheckpoint, 0, 0).value();
  EXPECT_EQ(longwriter.min_pixels, 50176);
  EXPECT_EQ(longwriter.max_pixels, 1048576);
  EXPECT_EQ(longwriter.LargestPicture(28), 1048576);
  const PixelPolicy training = MakePixelPolicy("training", kCheckpoint, 0, 0).value();
  EXPECT_EQ(training.fixed_size, (ImageSize{280, 280}));
  EXPECT_EQ(training.ToString(), "280 x 280 pixels");
  EXPECT_EQ(training.LargestPicture(28), 280 * 280);
}

TEST(PixelPolicy, LimitsThatAreGivenOverrideThePolicys) {
  const PixelPolicy policy = MakePixelPolicy("longwriter", kCheckpoint, 0, 60000).value();
  EXPECT_EQ(policy.min_pixels, 50176);
  EXPECT_EQ(policy.max_pixels, 60000);
}

TEST(PixelPolicy, WhatMakesNoSenseIsRefused) {
  EXPECT_THAT(MakePixelPolicy("best", kCheckpoint, 0, 0).status().message(),
              HasSubstr("\"best\"; it must be checkpoint, longwriter or training"));
  EXPECT_THAT(MakePixelPolicy("checkpoint", kCheckpoint, 200000, 0).status().message(),
              HasSubstr("min_pixels is 200000 and max_pixels is 100352"));
  EXPECT_FALSE(MakePixelPolicy("checkpoint", kCheckpoint, -1, 0).ok());
  EXPECT_FALSE(MakePixelPolicy("checkpoint", kCheckpoint, 0, int64_t{1} << 40).ok());
  EXPECT_THAT(MakePixelPolicy("training", kCheckpoint, 0, 5000).status().message(),
              HasSubstr("one size, 280 x 280"));
}

}  // namespace
}  // namespace longhand::input
