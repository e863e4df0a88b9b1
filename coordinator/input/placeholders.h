// Image placeholders in a prompt: one for each image, or one for each of its tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "coordinator/input/prompt.h"

namespace longhand::input {

struct PlacedPrompt {
  std::vector<int32_t> token_ids;
  std::vector<PlacedImage> images;
};

// Repeats the i-th `image_token_id` of the prompt `num_image_tokens[i]` times. A prompt whose
// placeholders are repeated already stays as it is. kInvalidArgument when their number fits neither
// way, or an image's are torn apart.
Result<PlacedPrompt> ExpandPlaceholders(std::vector<int32_t> token_ids,
                                        int32_t image_token_id,
                                        std::span<const int64_t> num_image_tokens);

}  // namespace longhand::input
