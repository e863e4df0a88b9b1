#include "coordinator/input/image_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/coordinator/input/test_pictures.h"

namespace longhand::input {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Bytes(std::string_view text) { return {text.begin(), text.end()}; }

Status DecodeStatus(const std::vector<uint8_t>& file, const ImageLimits& limits = {}) {
  return DecodeImage(file, limits).status();
}

// tests/data/pictures: kinds of files that are rare and that decoders get wrong. The common ones
// are in tests/parity.
TEST(ImageDecoder, RareKindsOfFilesGiveThePixelsThatTheReferenceSees) {
  for (const std::filesystem::path& file : PictureFiles(PictureFolder())) {
    SCOPED_TRACE(file.filename().string());
    const Result<RgbImage> image = DecodeImage(ReadBytes(file), ImageLimits{});
    ASSERT_TRUE(image.ok()) << image.status();
    const RgbImage expected = ReadPpm(file.string() + ".ppm");
    EXPECT_EQ(image->height, expected.height);
    EXPECT_EQ(image->width, expected.width);
    EXPECT_TRUE(image->pixels == expected.pixels);
  }
}

TEST(ImageDecoder, AnUnknownFormatIsRefusedNamingTheAllowedOnes) {
  const Status status = DecodeStatus(Bytes("%PDF-1.7 and so on"));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("25 50 44 46"));
  EXPECT_THAT(status.message(), HasSubstr("JPEG, PNG, WebP and GIF are allowed"));
}

TEST(ImageDecoder, NoBytesAreRefused) {
  EXPECT_THAT(DecodeStatus({}).message(), HasSubstr("0 bytes"));
}

TEST(ImageDecoder, AFormatsFirstBytesAloneAreRefused) {
  for (const std::string_view magic : {"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF89a", "GIF87a"}) {
    EXPECT_EQ(DecodeStatus(Bytes(magic)).code(), StatusCode::kInvalidArgument) << magic;
  }
  EXPECT_EQ(DecodeStatus(Bytes("RIFF\x04\x01\x01\x01WEBP")).code(), StatusCode::kInvalidArgument);
}

// Half of the file: in the middle of the pixels, where a decoder could fill up with gray and call
// it a picture.
TEST(ImageDecoder, ATruncatedFileOfEachFormatIsRefused) {
  for (const char* name : {"rgb_126x98.png", "photograph.jpg", "progressive_77x61.jpg",
                           "lossy_90x110.webp", "lossless_66x58.webp", "palette_72x50.gif"}) {
    std::vector<uint8_t> file = ReadBytes(RecordedPictureFolder() / name);
    ASSERT_TRUE(DecodeStatus(file).ok()) << name;
    file.resize(file.size() / 2);
    const Status status = DecodeStatus(file);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("cannot be decoded")) << name;
  }
}

TEST(ImageDecoder, AFileOverTheByteLimitIsRefusedNamingBothNumbers) {
  const std::vector<uint8_t> file = ReadBytes(RecordedPictureFolder() / "rgb_112.png");
  const Status status = DecodeStatus(file, {.max_file_bytes = 100});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(std::to_string(file.size())));
  EXPECT_THAT(status.message(), HasSubstr("at most 100"));
}

TEST(ImageDecoder, APictureOverThePixelLimitIsRefusedInEachFormat) {
  for (const char* name :
       {"rgb_126x98.png", "photograph.jpg", "lossy_90x110.webp", "palette_72x50.gif"}) {
    const std::vector<uint8_t> file = ReadBytes(RecordedPictureFolder() / name);
    const Status status = DecodeStatus(file, {.max_pixels = 3000});
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("at most 3000 are allowed")) << name;
  }
  const std::vector<uint8_t> exact = ReadBytes(RecordedPictureFolder() / "rgb_126x98.png");
  EXPECT_TRUE(DecodeStatus(exact, {.max_pixels = 126 * 98}).ok());
  EXPECT_FALSE(DecodeStatus(exact, {.max_pixels = 126 * 98 - 1}).ok());
}

// 2 GB of pixels in a header: refused before anything is allocated.
TEST(ImageDecoder, AnAbsurdSizeInTheHeaderIsRefused) {
  std::vector<uint8_t> jpeg = ReadBytes(RecordedPictureFolder() / "photograph.jpg");
  // The frame header: marker, length, 8 bits, then height and width.
  const uint8_t marker[] = {0xff, 0xc0};
  auto frame = std::search(jpeg.begin(), jpeg.end(), std::begin(marker), std::end(marker));
  ASSERT_NE(frame, jpeg.end());
  std::fill(frame + 5, frame + 9, 0xfe);
  EXPECT_THAT(DecodeStatus(jpeg).message(), HasSubstr("65278 x 65278 pixels"));

  std::vector<uint8_t> gif = ReadBytes(RecordedPictureFolder() / "palette_72x50.gif");
  std::fill(gif.begin() + 6, gif.begin() + 10, 0xfe);
  EXPECT_THAT(DecodeStatus(gif).message(), HasSubstr("65278 x 65278 pixels"));
}

}  // namespace
}  // namespace longhand::input
