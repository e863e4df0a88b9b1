// The size that the model sees a picture at.
#pragma once

#include <cstdint>

#include "common/status.h"

namespace longhand::input {

struct ImageSize {
  int32_t height = 0;
  int32_t width = 0;

  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

// The multiples of `factor` nearest to height and width (half to even), scaled so that their
// product lies within [min_pixels, max_pixels] where the factor allows. As the reference's
// smart_resize, bit for bit. kInvalidArgument when one side is more than 200 times the other.
Result<ImageSize> SmartResize(
    int32_t height, int32_t width, int32_t factor, int64_t min_pixels, int64_t max_pixels);

// No result of SmartResize has more pixels than this. It is above max_pixels where limits are small:
// the short side of a narrow picture stays one factor, and sides that grow are rounded up.
int64_t LargestSmartResize(int32_t factor, int64_t min_pixels, int64_t max_pixels);

}  // namespace longhand::input
