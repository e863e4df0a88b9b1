// One decoder for each picture format, behind DecodeImage.
#pragma once

#include <cstdint>
#include <span>

#include "common/status.h"
#include "coordinator/input/image_decoder.h"

namespace longhand::input {

struct DecodedImage {
  RgbImage image;       // as stored, alpha on white
  int orientation = 1;  // EXIF: 1 is upright, 2 to 8 say how to turn it
};

Result<DecodedImage> DecodeJpeg(std::span<const uint8_t> file, const ImageLimits& limits);
Result<DecodedImage> DecodePng(std::span<const uint8_t> file, const ImageLimits& limits);
Result<DecodedImage> DecodeWebp(std::span<const uint8_t> file, const ImageLimits& limits);
Result<DecodedImage> DecodeGif(std::span<const uint8_t> file, const ImageLimits& limits);

// kInvalidArgument when a picture of this size has no pixel, or more than the limit.
Status CheckImageSize(int64_t height, int64_t width, const ImageLimits& limits);

// A channel over a white background: value * alpha + 255 * (1 - alpha), rounded.
inline uint8_t OnWhite(uint8_t value, uint8_t alpha) {
  return static_cast<uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

}  // namespace longhand::input
