#include "coordinator/input/smart_resize.h"

#include <algorithm>
#include <cmath>

namespace longhand::input {
namespace {

constexpr double kMaxAspectRatio = 200;

}  // namespace

Result<ImageSize> SmartResize(
    int32_t height, int32_t width, int32_t factor, int64_t min_pixels, int64_t max_pixels) {
  LONGHAND_CHECK(height > 0 && width > 0 && factor > 0 && min_pixels > 0 &&
                 min_pixels <= max_pixels)
      << height << " x " << width << ", factor " << factor << ", " << min_pixels << " to "
      << max_pixels;
  const double h = height;
  const double w = width;
  if (std::max(h, w) / std::min(h, w) > kMaxAspectRatio) {
    return InvalidArgument("the image is ", width, " x ", height,
                           " pixels; one side may be at most ", kMaxAspectRatio,
                           " times the other");
  }
  // Doubles throughout, in the reference's order of operations: a rounding here moves a picture by
  // 28 pixels.
  double new_h = std::nearbyint(h / factor) * factor;
  double new_w = std::nearbyint(w / factor) * factor;
  if (new_h * new_w > static_cast<double>(max_pixels)) {
    const double shrink = std::sqrt(h * w / static_cast<double>(max_pixels));
    new_h = std::max<double>(factor, std::floor(h / shrink / factor) * factor);
    new_w = std::max<double>(factor, std::floor(w / shrink / factor) * factor);
  } else if (new_h * new_w < static_cast<double>(min_pixels)) {
    const double grow = std::sqrt(static_cast<double>(min_pixels) / (h * w));
    new_h = std::ceil(h * grow / factor) * factor;
    new_w = std::ceil(w * grow / factor) * factor;
  }
  return ImageSize{static_cast<int32_t>(new_h), static_cast<int32_t>(new_w)};
}

int64_t LargestSmartResize(int32_t factor, int64_t min_pixels, int64_t max_pixels) {
  // The sides of the narrowest picture of so many pixels.
  const auto long_side = [](int64_t pixels) { return std::sqrt(kMaxAspectRatio * pixels); };
  const auto short_side = [](int64_t pixels) { return std::sqrt(pixels / kMaxAspectRatio); };
  const double shrunk = factor * long_side(max_pixels);
  const double grown = (long_side(min_pixels) + factor) * (short_side(min_pixels) + factor);
  return std::max(max_pixels, static_cast<int64_t>(std::ceil(std::max(shrunk, grown))));
}

}  // namespace longhand::input
