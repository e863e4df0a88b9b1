// The recorded table is compared in tests/parity; here is what a reader wants to see spelt out.
#include "coordinator/input/smart_resize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace longhand::input {
namespace {

using ::testing::HasSubstr;

ImageSize Resized(int32_t height, int32_t width, int64_t min_pixels, int64_t max_pixels) {
  const Result<ImageSize> size = SmartResize(height, width, 28, min_pixels, max_pixels);
  EXPECT_TRUE(size.ok()) << size.status();
  return size.ok() ? *size : ImageSize{};
}

TEST(SmartResize, HalvesGoToTheEvenMultiple) {
  EXPECT_EQ(Resized(70, 42, 1, 1 << 20), (ImageSize{56, 56}));     // 2.5 and 1.5
  EXPECT_EQ(Resized(98, 126, 1, 1 << 20), (ImageSize{112, 112}));  // 3.5 and 4.5
}

TEST(SmartResize, TooSmallAPictureGrowsAndTooLargeAOneShrinks) {
  EXPECT_EQ(Resized(1, 1, 3136, 12845056), (ImageSize{56, 56}));
  EXPECT_EQ(Resized(700, 900, 3136, 100352), (ImageSize{252, 336}));
  EXPECT_EQ(Resized(5, 3, 3136, 100352), (ImageSize{84, 56}));
}

TEST(SmartResize, TwoHundredToOneIsAllowedAndMoreIsNot) {
  EXPECT_TRUE(SmartResize(1, 200, 28, 3136, 12845056).ok());
  const Status status = SmartResize(1, 65000, 28, 3136, 12845056).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("65000 x 1"));
  EXPECT_THAT(status.message(), HasSubstr("at most 200"));
  EXPECT_FALSE(SmartResize(201, 1, 28, 3136, 12845056).ok());
}

}  // namespace
}  // namespace longhand::input
