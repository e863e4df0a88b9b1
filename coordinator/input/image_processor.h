// The bytes of a picture file to what the workers and the prompt need of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"
#include "common/step_plan.h"
#include "coordinator/input/image_decoder.h"
#include "coordinator/input/pixel_policy.h"

namespace longhand::input {

// How an image's tokens lie in the picture: rows and columns of merged patches.
struct TokenGrid {
  int32_t height = 0;
  int32_t width = 0;

  int64_t num_tokens() const { return int64_t{height} * width; }
  friend bool operator==(const TokenGrid&, const TokenGrid&) = default;
};

struct PreparedImage {
  RgbImage image;  // resized; sides are multiples of a merged patch
  TokenGrid grid;
  int64_t num_patches = 0;
  ContentHash hash{};  // of the resized pixels and their size
};

// Input pool threads share one: it keeps no state between calls.
class ImageProcessor {
 public:
  ImageProcessor(const VisionConfig& vision, const PixelPolicy& policy, const ImageLimits& limits);

  // Decodes, turns upright, resizes by the policy. kInvalidArgument as DecodeImage and SmartResize
  // say.
  Result<PreparedImage> Process(std::span<const uint8_t> file) const;

 private:
  const int32_t patch_size_;  // pixels
  const int32_t merge_size_;  // patches along each side of a token
  const PixelPolicy policy_;
  const ImageLimits limits_;
};

// SHA-256 of height and width (each 4 bytes, little-endian), then the pixels.
ContentHash HashImage(const RgbImage& image);

}  // namespace longhand::input
