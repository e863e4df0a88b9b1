// The reference's resize, bit for bit: torchvision's antialiased bicubic on uint8.
#pragma once

#include "coordinator/input/image_decoder.h"
#include "coordinator/input/smart_resize.h"

namespace longhand::input {

// Columns first, rounded and clamped to 8 bits, then rows; int16 weights, int32 sums. An axis whose
// size stays is not touched. The size must not be empty.
RgbImage Resize(const RgbImage& image, ImageSize size);

}  // namespace longhand::input
