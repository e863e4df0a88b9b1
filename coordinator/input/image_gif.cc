// GIF by giflib: the first frame on its canvas, in its own or the file's palette, transparency on
// white.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "coordinator/input/image_formats.h"

namespace longhand::input {
namespace {

struct FileCloser {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using GifFile = std::unique_ptr<GifFileType, FileCloser>;

struct Source {
  std::span<const uint8_t> file;
  size_t offset = 0;
};

using Color = std::array<uint8_t, 3>;
constexpr Color kWhite = {255, 255, 255};

int ReadBytes(GifFileType* gif, GifByteType* out, int count) {
  Source& source = *static_cast<Source*>(gif->UserData);
  const size_t available = std::min(static_cast<size_t>(count), source.file.size() - source.offset);
  std::memcpy(out, source.file.data() + source.offset, available);
  source.offset += available;
  return static_cast<int>(available);
}

Status CannotDecode(int error) {
  const char* text = GifErrorString(error);
  return InvalidArgument("the GIF image cannot be decoded: ",
                         text != nullptr ? text : "it has no frame");
}

// Reads an extension's blocks; returns the transparent index when it is a graphics control block
// that names one.
Result<std::optional<int>> ReadExtension(GifFileType* gif, std::optional<int> transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) return CannotDecode(gif->Error);
  while (block != nullptr) {
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
      transparent.reset();
      if (control.TransparentColor != NO_TRANSPARENT_COLOR) transparent = control.TransparentColor;
    }
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return CannotDecode(gif->Error);
  }
  return transparent;
}

// Skips to the first frame; on success its description is in gif->Image.
Result<std::optional<int>> FindFirstFrame(GifFileType* gif) {
  std::optional<int> transparent;
  while (true) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) return CannotDecode(gif->Error);
    switch (record) {
      case IMAGE_DESC_RECORD_TYPE:
        if (DGifGetImageDesc(gif) == GIF_ERROR) return CannotDecode(gif->Error);
        return transparent;
      case EXTENSION_RECORD_TYPE: {
        LONGHAND_ASSIGN_OR_RETURN(transparent, ReadExtension(gif, transparent));
        break;
      }
      default:
        return CannotDecode(D_GIF_ERR_NO_IMAG_DSCR);
    }
  }
}

// The colours of all 256 indices: missing ones are black; without any palette an index is a shade
// of gray.
std::array<Color, 256> ColorsOf(const GifFileType& gif, std::optional<int> transparent) {
  std::array<Color, 256> colors{};
  const ColorMapObject* map = gif.Image.ColorMap != nullptr ? gif.Image.ColorMap : gif.SColorMap;
  for (int i = 0; i < 256; ++i) {
    if (map == nullptr) {
      colors[i].fill(static_cast<uint8_t>(i));
    } else if (i < map->ColorCount) {
      colors[i] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue};
    }
  }
  if (transparent && *transparent >= 0 && *transparent < 256) colors[*transparent] = kWhite;
  return colors;
}

// Rows in the order in which the file has them.
std::vector<int> RowOrder(int height, bool interlaced) {
  std::vector<int> rows;
  rows.reserve(height);
  if (!interlaced) {
    for (int y = 0; y < height; ++y) rows.push_back(y);
    return rows;
  }
  constexpr int kFirst[] = {0, 4, 2, 1};
  constexpr int kStep[] = {8, 8, 4, 2};
  for (int pass = 0; pass < 4; ++pass) {
    for (int y = kFirst[pass]; y < height; y += kStep[pass]) rows.push_back(y);
  }
  return rows;
}

}  // namespace

Result<DecodedImage> DecodeGif(std::span<const uint8_t> file, const ImageLimits& limits) {
  Source source{file};
  int error = 0;
  const GifFile gif(DGifOpen(&source, ReadBytes, &error));
  if (gif == nullptr) return CannotDecode(error);
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<int> transparent, FindFirstFrame(gif.get()));

  const GifImageDesc& frame = gif->Image;
  // Some writers give a screen smaller than the frame; the canvas holds both.
  const int64_t height = std::max<int64_t>(gif->SHeight, int64_t{frame.Top} + frame.Height);
  const int64_t width = std::max<int64_t>(gif->SWidth, int64_t{frame.Left} + frame.Width);
  LONGHAND_RETURN_IF_ERROR(CheckImageSize(frame.Height, frame.Width, limits));
  LONGHAND_RETURN_IF_ERROR(CheckImageSize(height, width, limits));

  const std::array<Color, 256> colors = ColorsOf(*gif, transparent);
  DecodedImage decoded;
  decoded.image = RgbImage::Filled(static_cast<int32_t>(height), static_cast<int32_t>(width), 255);
  uint8_t* pixels = decoded.image.pixels.data();
  if (!transparent) {  // What the frame leaves uncovered has the first colour.
    for (int64_t i = 0; i < height * width; ++i)
      std::copy(colors[0].begin(), colors[0].end(), pixels + 3 * i);
  }
  std::vector<GifPixelType> indices(frame.Width);
  for (const int y : RowOrder(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), indices.data(), frame.Width) == GIF_ERROR)
      return CannotDecode(gif->Error);
    uint8_t* out = pixels + ((int64_t{frame.Top} + y) * width + frame.Left) * 3;
    for (const GifPixelType index : indices)
      out = std::copy(colors[index].begin(), colors[index].end(), out);
  }
  return decoded;
}

}  // namespace longhand::input
