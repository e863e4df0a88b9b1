// M-RoPE positions of a prompt: time, height and width of every token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coordinator/input/image_processor.h"
#include "coordinator/input/prompt.h"

namespace longhand::input {

struct PromptPositions {
  std::vector<int32_t> positions;  // [num_tokens, 3]
  // Added to a later token's index in the sequence, gives its position on all three axes; 0 or
  // negative, because an image takes more tokens than positions.
  int32_t rope_delta = 0;
};

// Text counts up on all axes at once. An image's tokens stand at its start plus (0, row, column),
// and what follows it at its start plus the longer side. `images` are in prompt order, do not
// overlap, and have the size of their `grids`.
PromptPositions ComputePositions(int64_t num_tokens,
                                 std::span<const PlacedImage> images,
                                 std::span<const TokenGrid> grids);

}  // namespace longhand::input
