#include "client/demo/picture_size.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace longhand::client {
namespace {

std::string File(const std::string& name) {
  std::ifstream file(std::string(LONGHAND_TEST_DATA) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(PictureSize, IsReadFromPngAndJpeg) {
  const auto jpeg = ReadPictureSize(File("recording/images/photograph.jpg"));
  ASSERT_TRUE(jpeg.has_value());
  EXPECT_EQ(jpeg->width, 451);
  EXPECT_EQ(jpeg->height, 300);
  const auto png =
      ReadPictureSize(std::string("\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\x01\x40\0\0\0\xF0\x08", 25));
  ASSERT_TRUE(png.has_value());
  EXPECT_EQ(png->width, 320);
  EXPECT_EQ(png->height, 240);
}

TEST(PictureSize, WhatIsBrokenOrUnknownHasNone) {
  EXPECT_FALSE(ReadPictureSize("").has_value());
  EXPECT_FALSE(ReadPictureSize("GIF89a").has_value());
  const std::string jpeg = File("recording/images/photograph.jpg");
  const std::string head = jpeg.substr(0, 4096);
  for (size_t size = 0; size < 24; ++size)
    EXPECT_FALSE(ReadPictureSize(head.substr(0, size)).has_value()) << size;
  EXPECT_FALSE(ReadPictureSize(std::string("\xFF\xD8\xFF\xE0\0\0\xFF\xE0\xFF\xE0\0\0", 12)));
  EXPECT_FALSE(ReadPictureSize(std::string("\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\x01", 19)));
}

}  // namespace
}  // namespace longhand::client
