// PNG by libpng: every colour type, depth and interlacing to RGB. Gamma and colour profiles are
// left alone, as the reference does.
//
// 16-bit samples keep their high byte. For grayscale that is our own choice: Pillow's "I;16" to RGB
// clips at 255, so that a picture that uses the full range comes out white.
//
// libpng leaves through longjmp when a file is damaged. Only RunGuarded sets the place it returns
// to, and the steps that it runs hold nothing that needs a destructor.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "coordinator/input/image_formats.h"
#include "coordinator/input/image_orientation.h"

namespace longhand::input {
namespace {

constexpr png_alloc_size_t kMaxChunkBytes = png_alloc_size_t{4}
                                            << 20;  // of a chunk other than pixels
constexpr png_uint_32 kMaxChunks = 1000;            // kept of those

struct Reader {
  png_structp png;
  png_infop info;
  std::jmp_buf on_error;
  char message[128];
  std::span<const uint8_t> file;
  size_t offset;
  int channels;     // as libpng delivers them, after the transformations
  uint8_t* rows;    // scratch: one row, or all rows of an interlaced file
  uint8_t* pixels;  // out: [height, width, 3]
};

void Leave(png_structp png, png_const_charp message) {
  Reader& reader = *static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader.message, sizeof reader.message, "%s", message);
  std::longjmp(reader.on_error, 1);
}

void IgnoreWarning(png_structp, png_const_charp) {}

void ReadBytes(png_structp png, png_bytep out, size_t count) {
  Reader& reader = *static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader.file.size() - reader.offset) png_error(png, "the file is truncated");
  std::memcpy(out, reader.file.data() + reader.offset, count);
  reader.offset += count;
}

// False when the library gave up; reader.message says why.
bool RunGuarded(Reader& reader, void (*step)(Reader&)) {
  if (setjmp(reader.on_error) != 0) return false;
  step(reader);
  return true;
}

void ReadHeader(Reader& reader) {
  png_set_read_fn(reader.png, &reader, ReadBytes);
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // CheckImageSize decides
  png_set_chunk_malloc_max(reader.png, kMaxChunkBytes);
  png_set_chunk_cache_max(reader.png, kMaxChunks);
  png_read_info(reader.png, reader.info);
}

// Asks for gray, gray + alpha, RGB or RGBA samples of 8 bits.
void ChooseTransformations(Reader& reader) {
  png_set_expand(
      reader.png);  // palettes to RGB, small grays to 8 bits, transparent colours to alpha
  png_set_strip_16(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  reader.channels = png_get_channels(reader.png, reader.info);
}

void ConvertRow(const Reader& reader, const uint8_t* row, int64_t width, uint8_t* out) {
  const bool gray = reader.channels <= 2;
  const bool has_alpha = reader.channels % 2 == 0;
  for (int64_t x = 0; x < width; ++x, out += 3) {
    const uint8_t* pixel = row + x * reader.channels;
    const uint8_t alpha = has_alpha ? pixel[reader.channels - 1] : 255;
    for (int c = 0; c < 3; ++c) out[c] = OnWhite(pixel[gray ? 0 : c], alpha);
  }
}

bool IsInterlaced(const Reader& reader) {
  return png_get_interlace_type(reader.png, reader.info) != PNG_INTERLACE_NONE;
}

void ReadPixels(Reader& reader) {
  const int64_t height = png_get_image_height(reader.png, reader.info);
  const int64_t width = png_get_image_width(reader.png, reader.info);
  const int64_t row_bytes = static_cast<int64_t>(png_get_rowbytes(reader.png, reader.info));
  if (IsInterlaced(reader)) {
    const int num_passes = png_set_interlace_handling(reader.png);
    for (int pass = 0; pass < num_passes; ++pass) {
      for (int64_t y = 0; y < height; ++y)
        png_read_row(reader.png, reader.rows + y * row_bytes, nullptr);
    }
  }
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* row = reader.rows;
    if (IsInterlaced(reader)) {
      row += y * row_bytes;
    } else {
      png_read_row(reader.png, row, nullptr);
    }
    ConvertRow(reader, row, width, reader.pixels + y * width * 3);
  }
}

// What follows the pixels; only metadata, so that a file cut off here still counts.
void ReadEnd(Reader& reader) { png_read_end(reader.png, reader.info); }

int OrientationOf(const Reader& reader) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &exif) == 0) return 1;
  return ExifOrientation({exif, size});
}

// With a header read and libpng's structures in place.
Result<DecodedImage> DecodeBody(Reader& reader, const ImageLimits& limits) {
  const png_uint_32 height = png_get_image_height(reader.png, reader.info);
  const png_uint_32 width = png_get_image_width(reader.png, reader.info);
  LONGHAND_RETURN_IF_ERROR(CheckImageSize(height, width, limits));
  DecodedImage decoded;
  if (RunGuarded(reader, ChooseTransformations)) {
    const size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
    std::vector<uint8_t> rows(IsInterlaced(reader) ? row_bytes * height : row_bytes);
    decoded.image = RgbImage::Filled(static_cast<int32_t>(height), static_cast<int32_t>(width), 0);
    reader.rows = rows.data();
    reader.pixels = decoded.image.pixels.data();
    if (RunGuarded(reader, ReadPixels)) {
      (void)RunGuarded(reader, ReadEnd);
      decoded.orientation = OrientationOf(reader);
      return decoded;
    }
  }
  return InvalidArgument("the PNG image cannot be decoded: ", reader.message);
}

}  // namespace

Result<DecodedImage> DecodePng(std::span<const uint8_t> file, const ImageLimits& limits) {
  Reader reader{};
  reader.file = file;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, Leave, IgnoreWarning);
  LONGHAND_CHECK(reader.png != nullptr)
      << "libpng has another version than its headers: " << PNG_LIBPNG_VER_STRING;
  reader.info = png_create_info_struct(reader.png);
  LONGHAND_CHECK(reader.info != nullptr) << "out of memory";
  Result<DecodedImage> decoded = RunGuarded(reader, ReadHeader)
                                     ? DecodeBody(reader, limits)
                                     : Result<DecodedImage>(InvalidArgument(
                                           "the PNG image cannot be decoded: ", reader.message));
  png_destroy_read_struct(&reader.png, &reader.info, nullptr);
  return decoded;
}

}  // namespace longhand::input
