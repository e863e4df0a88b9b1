#include "client/demo/picture_size.h"

#include <cstddef>

namespace longhand::client {
namespace {

constexpr std::string_view kPng("\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR", 16);
constexpr std::string_view kJpeg("\xFF\xD8");

int Byte(std::string_view file, size_t at) { return static_cast<unsigned char>(file[at]); }

// Big-endian. The upper bytes of a PNG's sizes are 0 in every picture that a server takes.
int TwoBytes(std::string_view file, size_t at) { return Byte(file, at) << 8 | Byte(file, at + 1); }

// SOF0 to SOF15, without DHT, JPG and DAC among them.
bool IsFrame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// A JPEG is a chain of segments: FF, marker, length of the rest in two bytes.
std::optional<PictureSize> JpegSize(std::string_view file) {
  for (size_t at = kJpeg.size(); at + 9 <= file.size() && Byte(file, at) == 0xFF;) {
    if (IsFrame(Byte(file, at + 1))) {
      return PictureSize{.width = TwoBytes(file, at + 7), .height = TwoBytes(file, at + 5)};
    }
    at += 2 + static_cast<size_t>(TwoBytes(file, at + 2));
  }
  return std::nullopt;
}

}  // namespace

std::optional<PictureSize> ReadPictureSize(std::string_view file) {
  if (file.starts_with(kPng) && file.size() >= kPng.size() + 8) {
    return PictureSize{.width = TwoBytes(file, 18), .height = TwoBytes(file, 22)};
  }
  if (file.starts_with(kJpeg)) return JpegSize(file);
  return std::nullopt;
}

}  // namespace longhand::client
