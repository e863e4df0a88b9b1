#include "coordinator/input/image_decoder.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "coordinator/input/image_formats.h"
#include "coordinator/input/image_orientation.h"

namespace longhand::input {
namespace {

using Decoder = Result<DecodedImage> (*)(std::span<const uint8_t>, const ImageLimits&);

bool HasAt(std::span<const uint8_t> file, size_t offset, std::string_view magic) {
  return file.size() >= offset + magic.size() &&
         std::equal(magic.begin(), magic.end(), file.begin() + static_cast<ptrdiff_t>(offset),
                    [](char m, uint8_t f) { return static_cast<uint8_t>(m) == f; });
}

// By the first bytes alone: names and declared types are not trusted.
Decoder ChooseDecoder(std::span<const uint8_t> file) {
  if (HasAt(file, 0, "\xff\xd8\xff")) return DecodeJpeg;
  if (HasAt(file, 0, "\x89PNG\r\n\x1a\n")) return DecodePng;
  if (HasAt(file, 0, "RIFF") && HasAt(file, 8, "WEBP")) return DecodeWebp;
  if (HasAt(file, 0, "GIF87a") || HasAt(file, 0, "GIF89a")) return DecodeGif;
  return nullptr;
}

std::string FirstBytes(std::span<const uint8_t> file) {
  std::string text;
  for (const uint8_t byte : file.first(std::min<size_t>(file.size(), 8))) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%02x ", byte);
    text += hex;
  }
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace

Status CheckImageSize(int64_t height, int64_t width, const ImageLimits& limits) {
  if (height < 1 || width < 1) {
    return InvalidArgument("the image has no pixels: ", width, " x ", height);
  }
  if (height > limits.max_pixels / width) {
    return InvalidArgument("the image has ", width, " x ", height, " pixels; at most ",
                           limits.max_pixels, " are allowed");
  }
  return OkStatus();
}

Result<RgbImage> DecodeImage(std::span<const uint8_t> file, const ImageLimits& limits) {
  if (file.empty()) return InvalidArgument("the image is empty: 0 bytes");
  if (static_cast<int64_t>(file.size()) > limits.max_file_bytes) {
    return InvalidArgument("the image file has ", file.size(), " bytes; at most ",
                           limits.max_file_bytes, " are allowed");
  }
  const Decoder decode = ChooseDecoder(file);
  if (decode == nullptr) {
    return InvalidArgument("the data is no image of a known format (it starts with ",
                           FirstBytes(file), "); JPEG, PNG, WebP and GIF are allowed");
  }
  LONGHAND_ASSIGN_OR_RETURN(DecodedImage decoded, decode(file, limits));
  return TurnUpright(std::move(decoded.image), decoded.orientation);
}

}  // namespace longhand::input
