// EXIF orientation: reading it, and turning a picture upright by it.
#pragma once

#include <cstdint>
#include <span>

#include "coordinator/input/image_decoder.h"

namespace longhand::input {

// The orientation (1 to 8) in the first directory of a TIFF-structured EXIF block, with or without
// the "Exif" header in front. 1 when there is none, or the block cannot be read: metadata never
// costs a picture.
int ExifOrientation(std::span<const uint8_t> exif);

// Undoes the orientation: 2 mirrored, 3 upside down, 4 flipped, 5 to 8 with rows and columns
// exchanged.
RgbImage TurnUpright(RgbImage image, int orientation);

}  // namespace longhand::input
