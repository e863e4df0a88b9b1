// WebP by libwebp: lossy and lossless, alpha on white. Of an animation the first frame, placed on
// its canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "coordinator/input/image_formats.h"
#include "coordinator/input/image_orientation.h"

namespace longhand::input {
namespace {

struct DemuxerDeleter {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

struct FrameIterator {
  WebPIterator value{};
  ~FrameIterator() { WebPDemuxReleaseIterator(&value); }
};

struct ChunkIterator {
  WebPChunkIterator value{};
  ~ChunkIterator() { WebPDemuxReleaseChunkIterator(&value); }
};

Status CannotDecode(const char* why) {
  return InvalidArgument("the WebP image cannot be decoded: ", why);
}

// Decodes `frame` into its place in `canvas`, where it lies within.
Status DrawFrame(const WebPIterator& frame, bool has_alpha, RgbImage& canvas) {
  const int stride = canvas.width * 3;
  const size_t first = static_cast<size_t>(frame.y_offset) * static_cast<size_t>(stride) +
                       static_cast<size_t>(frame.x_offset) * 3;
  uint8_t* out = canvas.pixels.data() + first;
  if (!has_alpha) {
    const bool done = WebPDecodeRGBInto(frame.fragment.bytes, frame.fragment.size, out,
                                        canvas.pixels.size() - first, stride) != nullptr;
    return done ? OkStatus() : CannotDecode("its pixels are damaged");
  }
  const size_t row_bytes = static_cast<size_t>(frame.width) * 4;
  std::vector<uint8_t> rgba(row_bytes * static_cast<size_t>(frame.height));
  if (WebPDecodeRGBAInto(frame.fragment.bytes, frame.fragment.size, rgba.data(), rgba.size(),
                         static_cast<int>(row_bytes)) == nullptr) {
    return CannotDecode("its pixels are damaged");
  }
  const uint8_t* in = rgba.data();
  for (int y = 0; y < frame.height; ++y, out += stride) {
    for (int x = 0; x < frame.width; ++x, in += 4) {
      for (int c = 0; c < 3; ++c) out[3 * x + c] = OnWhite(in[c], in[3]);
    }
  }
  return OkStatus();
}

int OrientationOf(const WebPDemuxer* demuxer) {
  ChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk.value) == 0) return 1;
  return ExifOrientation({chunk.value.chunk.bytes, chunk.value.chunk.size});
}

}  // namespace

Result<DecodedImage> DecodeWebp(std::span<const uint8_t> file, const ImageLimits& limits) {
  const WebPData data{file.data(), file.size()};
  const std::unique_ptr<WebPDemuxer, DemuxerDeleter> demuxer(WebPDemux(&data));
  if (demuxer == nullptr) return CannotDecode("it is damaged or truncated");
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  LONGHAND_RETURN_IF_ERROR(CheckImageSize(height, width, limits));
  FrameIterator frame;
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame.value) == 0)
    return CannotDecode("it has no frame");
  const WebPIterator& first = frame.value;
  if (first.x_offset < 0 || first.y_offset < 0 || first.width < 1 || first.height < 1 ||
      first.x_offset + first.width > width || first.y_offset + first.height > height) {
    return CannotDecode("its first frame lies outside the canvas");
  }
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(first.fragment.bytes, first.fragment.size, &features) != VP8_STATUS_OK ||
      features.width != first.width || features.height != first.height) {
    return CannotDecode("its first frame is damaged");
  }
  // What a frame leaves uncovered is transparent, so white; without an alpha channel it is black.
  const bool has_alpha = (WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG) != 0;
  DecodedImage decoded;
  decoded.image = RgbImage::Filled(static_cast<int32_t>(height), static_cast<int32_t>(width),
                                   has_alpha ? 255 : 0);
  LONGHAND_RETURN_IF_ERROR(DrawFrame(first, has_alpha, decoded.image));
  decoded.orientation = OrientationOf(demuxer.get());
  return decoded;
}

}  // namespace longhand::input
