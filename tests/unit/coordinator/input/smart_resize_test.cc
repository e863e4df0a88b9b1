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

// Workers take their memory for the largest picture; one that is larger would end the group.
TEST(SmartResize, NoPictureIsLargerThanTheLargest) {
  EXPECT_EQ(LargestSmartResize(28, 3136, 12845056), 12845056);  // The published policy's own.
  for (const int64_t max_pixels : {784, 3136, 50176, 100352, 1048576}) {
    for (const int64_t min_pixels : {int64_t{1}, max_pixels / 2, max_pixels}) {
      const int64_t largest = LargestSmartResize(28, min_pixels, max_pixels);
      for (int32_t height = 1; height < 3000; height += 1 + height / 16) {
        for (int32_t width = height; width <= 200 * height; width += 1 + width / 16) {
          const ImageSize size = Resized(height, width, min_pixels, max_pixels);
          ASSERT_LE(int64_t{size.height} * size.width, largest) << width << " x " << height;
        }
      }
    }
  }
  EXPECT_EQ(Resized(80, 16000, 3136, 100352), (ImageSize{28, 4480}));  // 125,440 pixels
}

}  // namespace
}  // namespace longhand::input
