#include "coordinator/input/image_processor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/unit/coordinator/input/test_pictures.h"

namespace longhand::input {
namespace {

using ::testing::HasSubstr;

ImageProcessor MakeProcessor(const PixelPolicy& policy) {
  return ImageProcessor(VisionConfig{}, policy, ImageLimits{});
}

std::string Hex(const ContentHash& hash) {
  std::string text;
  for (const uint8_t byte : hash) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", byte);
    text += hex;
  }
  return text;
}

TEST(ImageProcessor, CountsPatchesAndTokensOfTheResizedPicture) {
  const ImageProcessor processor = MakeProcessor({3136, 100352, std::nullopt});
  const Result<PreparedImage> image =
      processor.Process(ReadBytes(RecordedPictureFolder() / "rgb_170x90.jpg"));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->image.height, 84);
  EXPECT_EQ(image->image.width, 168);
  EXPECT_EQ(image->grid, (TokenGrid{3, 6}));
  EXPECT_EQ(image->grid.num_tokens(), 18);
  EXPECT_EQ(image->num_patches, 72);
}

TEST(ImageProcessor, AFixedSizeIsHundredTokensWhateverTheShape) {
  const ImageProcessor processor = MakeProcessor({280 * 280, 280 * 280, ImageSize{280, 280}});
  for (const char* name : {"rgb_170x90.jpg", "tall_20x500.png", "one_1x1.png"}) {
    const Result<PreparedImage> image =
        processor.Process(ReadBytes(RecordedPictureFolder() / name));
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->grid, (TokenGrid{10, 10})) << name;
  }
}

// 65,000 x 1 pixels: a GIF without a palette, its one row all of index 0.
TEST(ImageProcessor, ALineOfPixelsIsRefusedForItsShape) {
  std::vector<uint8_t> gif = {'G', 'I',  'F', '8', '9', 'a', 0xe8, 0xfd, 1, 0, 0, 0,
                              0,   0x2c, 0,   0,   0,   0,   0xe8, 0xfd, 1, 0, 0, 2};
  // Codes of 3 bits: a clear code (4) before each index keeps the width: 65,000 pairs of (4, 0).
  std::vector<uint8_t> codes;
  uint32_t bits = 0;
  int num_bits = 0;
  const auto put = [&](uint32_t code) {
    bits |= code << num_bits;
    num_bits += 3;
    for (; num_bits >= 8; num_bits -= 8, bits >>= 8) codes.push_back(static_cast<uint8_t>(bits));
  };
  for (int x = 0; x < 65000; ++x) {
    put(4);
    put(0);
  }
  put(5);  // end
  codes.push_back(static_cast<uint8_t>(bits));
  for (size_t first = 0; first < codes.size(); first += 255) {
    const size_t count = std::min<size_t>(255, codes.size() - first);
    gif.push_back(static_cast<uint8_t>(count));
    gif.insert(gif.end(), codes.begin() + static_cast<ptrdiff_t>(first),
               codes.begin() + static_cast<ptrdiff_t>(first + count));
  }
  gif.insert(gif.end(), {0, 0x3b});
  ASSERT_TRUE(DecodeImage(gif, ImageLimits{}).ok()) << DecodeImage(gif, ImageLimits{}).status();
  for (const PixelPolicy& policy :
       {PixelPolicy{3136, 100352, std::nullopt}, PixelPolicy{78400, 78400, ImageSize{280, 280}}}) {
    const Status status = MakeProcessor(policy).Process(gif).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("65000 x 1"));
  }
}

// sha256 of 01000000 02000000 00 01 02 03 04 05, by coreutils' sha256sum.
TEST(ImageProcessor, TheHashIsSha256OverSizeAndPixels) {
  const RgbImage image{1, 2, {0, 1, 2, 3, 4, 5}};
  EXPECT_EQ(Hex(HashImage(image)),
            "67080892c7d14bf5a3db631f269cfe9d31c859c0c78b28c2f1ef448484ec544b");
  const RgbImage turned{2, 1, image.pixels};
  EXPECT_NE(HashImage(turned), HashImage(image));
}

}  // namespace
}  // namespace longhand::input
