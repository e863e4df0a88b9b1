// JPEG by libjpeg-turbo, with the settings that Pillow uses: accurate integer DCT, fancy
// upsampling, and CMYK taken as Adobe writes it, inverted.
//
// libjpeg leaves through longjmp when a file is damaged. Only RunGuarded sets the place it returns
// to, and the steps that it runs hold nothing that needs a destructor.
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
// <jpeglib.h> needs FILE and size_t first.
#include <jerror.h>
#include <jpeglib.h>

#include "coordinator/input/image_formats.h"
#include "coordinator/input/image_orientation.h"

namespace longhand::input {
namespace {

// Real progressive files have about ten; each scan walks the whole picture again.
constexpr long kMaxScans = 64;
// Coefficients of a progressive picture of the largest size, four components of two bytes.
constexpr long kMaxLibraryBytes = long{1} << 30;

struct Reader {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf on_error;
  char message[JMSG_LENGTH_MAX];
  std::span<const uint8_t> file;
  uint8_t* pixels;  // out: [height, width, 3]
};

Reader& ReaderOf(j_common_ptr info) { return *static_cast<Reader*>(info->client_data); }

void Leave(j_common_ptr info) {
  Reader& reader = ReaderOf(info);
  info->err->format_message(info, reader.message);
  std::longjmp(reader.on_error, 1);
}

void IgnoreWarning(j_common_ptr, int) {}
void PrintNothing(j_common_ptr) {}

// The whole file is in memory, so a request for more means that it was cut off.
boolean FailAtEnd(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;
}

void LimitScans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    Reader& reader = ReaderOf(info);
    std::snprintf(reader.message, sizeof reader.message, "more than %ld scans", kMaxScans);
    std::longjmp(reader.on_error, 1);
  }
}

// False when the library gave up; reader.message says why.
bool RunGuarded(Reader& reader, void (*step)(Reader&)) {
  if (setjmp(reader.on_error) != 0) return false;
  step(reader);
  return true;
}

void ReadHeader(Reader& reader) {
  j_decompress_ptr info = &reader.info;
  jpeg_create_decompress(info);
  info->mem->max_memory_to_use = kMaxLibraryBytes;
  info->progress = &reader.progress;
  jpeg_mem_src(info, reader.file.data(), reader.file.size());
  info->src->fill_input_buffer = FailAtEnd;
  jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);  // EXIF
  jpeg_read_header(info, TRUE);
  info->dct_method = JDCT_ISLOW;
  info->do_fancy_upsampling = TRUE;
  switch (info->num_components) {
    case 1:
      info->out_color_space = JCS_GRAYSCALE;
      break;
    case 3:
      info->out_color_space = JCS_RGB;
      break;
    case 4:
      info->out_color_space = JCS_CMYK;
      break;
    default:
      ERREXIT1(info, JERR_COMPONENT_COUNT, info->num_components);
  }
}

// One row of the library's components to RGB.
void ConvertRow(const JSAMPLE* row, int64_t width, int components, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x, out += 3) {
    if (components == 1) {
      out[0] = out[1] = out[2] = row[x];
      continue;
    }
    // Adobe stores 255 - ink, so the stored black channel is the share of light it lets through.
    const int light = row[4 * x + 3];
    for (int c = 0; c < 3; ++c) {
      const int ink = 255 - row[4 * x + c];
      out[c] = static_cast<uint8_t>(light - (ink * light + 127) / 255);
    }
  }
}

void ReadPixels(Reader& reader) {
  j_decompress_ptr info = &reader.info;
  jpeg_start_decompress(info);
  const int components = info->output_components;
  const int64_t width = info->output_width;
  JSAMPARRAY row =
      info->mem->alloc_sarray(reinterpret_cast<j_common_ptr>(info), JPOOL_IMAGE,
                              info->output_width * static_cast<JDIMENSION>(components), 1);
  while (info->output_scanline < info->output_height) {
    uint8_t* out = reader.pixels + info->output_scanline * width * 3;
    JSAMPROW target = components == 3 ? out : row[0];
    jpeg_read_scanlines(info, &target, 1);
    if (components != 3) ConvertRow(row[0], width, components, out);
  }
}

int OrientationOf(const jpeg_decompress_struct& info) {
  constexpr std::string_view kHeader("Exif\0", 6);
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.substr(0, kHeader.size()) == kHeader)
      return ExifOrientation({marker->data, marker->data_length});
  }
  return 1;
}

}  // namespace

Result<DecodedImage> DecodeJpeg(std::span<const uint8_t> file, const ImageLimits& limits) {
  Reader reader{};
  reader.file = file;
  reader.info.client_data = &reader;
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = Leave;
  reader.errors.emit_message = IgnoreWarning;
  reader.errors.output_message = PrintNothing;
  reader.progress.progress_monitor = LimitScans;

  DecodedImage decoded;
  Status status;
  bool done = RunGuarded(reader, ReadHeader);
  if (done) status = CheckImageSize(reader.info.image_height, reader.info.image_width, limits);
  if (done && status.ok()) {
    decoded.image = RgbImage::Filled(static_cast<int32_t>(reader.info.image_height),
                                     static_cast<int32_t>(reader.info.image_width), 0);
    decoded.orientation = OrientationOf(reader.info);
    reader.pixels = decoded.image.pixels.data();
    done = RunGuarded(reader, ReadPixels);
  }
  jpeg_destroy_decompress(&reader.info);
  if (!done) return InvalidArgument("the JPEG image cannot be decoded: ", reader.message);
  if (!status.ok()) return status;
  return decoded;
}

}  // namespace longhand::input
