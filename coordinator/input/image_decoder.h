// The bytes of a picture file to upright RGB pixels: JPEG, PNG, WebP and GIF (of animations the
// first frame).
//
// Pixels are those that the reference gets: Pillow's conversions, alpha composited on white, turned
// upright by the file's EXIF orientation. Thread-safe: no state is kept.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace longhand::input {

struct RgbImage {
  int32_t height = 0;
  int32_t width = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3]

  static RgbImage Filled(int32_t height, int32_t width, uint8_t value) {
    const size_t bytes = static_cast<size_t>(height) * static_cast<size_t>(width) * 3;
    return {height, width, std::vector<uint8_t>(bytes, value)};
  }
};

// What a file may cost. Both are checked before pixels are allocated: at most about 11 bytes a
// pixel, for a progressive JPEG, which keeps its coefficients.
struct ImageLimits {
  int64_t max_file_bytes = int64_t{128} << 20;
  int64_t max_pixels = int64_t{128} << 20;  // 11,585 squared; Pillow refuses 178,956,971
};

// kInvalidArgument for another format (naming the allowed ones), a damaged or truncated file, or
// one over a limit (naming it). The message does not say which image of a request it was: the
// caller knows.
Result<RgbImage> DecodeImage(std::span<const uint8_t> file, const ImageLimits& limits);

}  // namespace longhand::input
