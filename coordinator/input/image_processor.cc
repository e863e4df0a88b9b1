#include "coordinator/input/image_processor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/digest/digest.h"
#include "coordinator/input/resize.h"
#include "coordinator/input/smart_resize.h"

namespace longhand::input {
ContentHash HashImage(const RgbImage& image) {
  uint8_t sizes[8];
  for (int i = 0; i < 4; ++i) {
    sizes[i] = static_cast<uint8_t>(static_cast<uint32_t>(image.height) >> (8 * i));
    sizes[4 + i] = static_cast<uint8_t>(static_cast<uint32_t>(image.width) >> (8 * i));
  }
  Digest digest;
  digest.Add({reinterpret_cast<const char*>(sizes), sizeof sizes});
  digest.Add({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
  const std::string bytes = digest.Finish();
  ContentHash hash;
  LONGHAND_CHECK_EQ(bytes.size(), hash.size());
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

ImageProcessor::ImageProcessor(const VisionConfig& vision,
                               const PixelPolicy& policy,
                               const ImageLimits& limits)
    : patch_size_(static_cast<int32_t>(vision.patch_size)),
      merge_size_(static_cast<int32_t>(vision.spatial_merge_size)),
      policy_(policy),
      limits_(limits) {}

Result<PreparedImage> ImageProcessor::Process(std::span<const uint8_t> file) const {
  LONGHAND_ASSIGN_OR_RETURN(const RgbImage decoded, DecodeImage(file, limits_));
  const int32_t token_size = patch_size_ * merge_size_;
  // Refuses what is too long and narrow, under a fixed size too.
  LONGHAND_ASSIGN_OR_RETURN(ImageSize size, SmartResize(decoded.height, decoded.width, token_size,
                                                        policy_.min_pixels, policy_.max_pixels));
  if (policy_.fixed_size) size = *policy_.fixed_size;
  PreparedImage prepared;
  prepared.image = Resize(decoded, size);
  prepared.grid = {size.height / token_size, size.width / token_size};
  prepared.num_patches = prepared.grid.num_tokens() * merge_size_ * merge_size_;
  prepared.hash = HashImage(prepared.image);
  return prepared;
}

}  // namespace longhand::input
