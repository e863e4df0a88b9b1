#include "coordinator/input/image_orientation.h"

#include <libexif/exif-data.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace longhand::input {
namespace {

constexpr uint8_t kExifHeader[] = {'E', 'x', 'i', 'f', 0, 0};
// Far over what cameras write; the orientation stands in the first directory.
constexpr size_t kMaxExifBytes = size_t{1} << 20;

struct ExifDataDeleter {
  void operator()(ExifData* data) const { exif_data_unref(data); }
};

}  // namespace

int ExifOrientation(std::span<const uint8_t> exif) {
  if (exif.empty() || exif.size() > kMaxExifBytes) return 1;
  std::vector<uint8_t> block;  // libexif wants the header, which PNG and WebP leave out
  block.reserve(exif.size() + sizeof kExifHeader);
  if (exif.size() < sizeof kExifHeader ||
      std::memcmp(exif.data(), kExifHeader, sizeof kExifHeader) != 0) {
    block.assign(std::begin(kExifHeader), std::end(kExifHeader));
  }
  block.insert(block.end(), exif.begin(), exif.end());

  const std::unique_ptr<ExifData, ExifDataDeleter> data(
      exif_data_new_from_data(block.data(), static_cast<unsigned int>(block.size())));
  if (data == nullptr) return 1;
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry == nullptr || entry->format != EXIF_FORMAT_SHORT || entry->components < 1 ||
      entry->size < 2)
    return 1;
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

RgbImage TurnUpright(RgbImage image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool exchanged = orientation >= 5;
  const int32_t height = exchanged ? image.width : image.height;
  const int32_t width = exchanged ? image.height : image.width;
  // The stored pixel of the upright (y, x): axes exchanged where the stored rows run down the
  // picture's side, then each stored axis reversed or not.
  const bool reverse_rows =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool reverse_columns =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  RgbImage upright = RgbImage::Filled(height, width, 0);
  uint8_t* out = upright.pixels.data();
  for (int32_t y = 0; y < height; ++y) {
    for (int32_t x = 0; x < width; ++x, out += 3) {
      int64_t row = exchanged ? x : y;
      int64_t column = exchanged ? y : x;
      if (reverse_rows) row = image.height - 1 - row;
      if (reverse_columns) column = image.width - 1 - column;
      std::copy_n(image.pixels.data() + (row * image.width + column) * 3, 3, out);
    }
  }
  return upright;
}

}  // namespace longhand::input
