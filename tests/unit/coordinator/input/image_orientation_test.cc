#include "coordinator/input/image_orientation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace longhand::input {
namespace {

// A block with one entry in its first directory, as a camera with the given byte order writes it.
std::vector<uint8_t> ExifBlock(int orientation, bool big_endian, bool header) {
  std::vector<uint8_t> block;
  const auto put16 = [&](int value) {
    const uint8_t high = static_cast<uint8_t>(value >> 8);
    const uint8_t low = static_cast<uint8_t>(value);
    block.push_back(big_endian ? high : low);
    block.push_back(big_endian ? low : high);
  };
  const auto put32 = [&](int value) {
    if (big_endian) put16(0);
    put16(value);
    if (!big_endian) put16(0);
  };
  for (const char c : std::string_view("Exif\0", header ? 6 : 0)) {
    block.push_back(static_cast<uint8_t>(c));
  }
  put16(big_endian ? 0x4d4d : 0x4949);  // MM or II
  put16(42);
  put32(8);       // the first directory
  put16(1);       // entries
  put16(0x0112);  // orientation
  put16(3);       // unsigned 16-bit
  put32(1);
  put16(orientation);
  put16(0);
  put32(0);  // no second directory
  return block;
}

// Pixels named by letters, one row of them for each string.
RgbImage Letters(const std::vector<std::string>& rows) {
  RgbImage image{static_cast<int32_t>(rows.size()), static_cast<int32_t>(rows[0].size()), {}};
  for (const std::string& row : rows) {
    for (const char letter : row) {
      image.pixels.insert(image.pixels.end(), {static_cast<uint8_t>(letter), 1, 2});
    }
  }
  return image;
}

std::vector<std::string> Rows(const RgbImage& image) {
  std::vector<std::string> rows(image.height, std::string(image.width, '?'));
  for (int32_t y = 0; y < image.height; ++y) {
    for (int32_t x = 0; x < image.width; ++x) {
      rows[y][x] = static_cast<char>(image.pixels[(y * image.width + x) * 3]);
    }
  }
  return rows;
}

TEST(ImageOrientation, EveryValueIsReadInBothByteOrdersWithAndWithoutHeader) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      for (const bool header : {false, true}) {
        EXPECT_EQ(ExifOrientation(ExifBlock(orientation, big_endian, header)), orientation)
            << "big endian " << big_endian << ", header " << header;
      }
    }
  }
}

TEST(ImageOrientation, AValueOutsideTheStandardLeavesThePictureAlone) {
  for (const int orientation : {0, 9, 65535}) {
    EXPECT_EQ(ExifOrientation(ExifBlock(orientation, true, true)), 1) << orientation;
  }
}

TEST(ImageOrientation, NoBlockAndCutOffBlocksAreUpright) {
  EXPECT_EQ(ExifOrientation({}), 1);
  const std::vector<uint8_t> whole = ExifBlock(6, false, true);
  for (size_t size = 0; size < whole.size() - 8; ++size) {
    EXPECT_EQ(ExifOrientation(std::span(whole).first(size)), 1) << size;
  }
}

// The table of the EXIF standard, for a picture of two rows and three columns.
TEST(ImageOrientation, EveryOrientationIsUndone) {
  const std::vector<std::string> stored = {"abc", "def"};
  const std::vector<std::vector<std::string>> upright = {
      {"abc", "def"},     {"cba", "fed"},     {"fed", "cba"},     {"def", "abc"},
      {"ad", "be", "cf"}, {"da", "eb", "fc"}, {"fc", "eb", "da"}, {"cf", "be", "ad"},
  };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    EXPECT_EQ(Rows(TurnUpright(Letters(stored), orientation)), upright[orientation - 1])
        << "orientation " << orientation;
  }
}

}  // namespace
}  // namespace longhand::input
