// What the work of a step may take on the slowest worker that a hang detector takes for honest.
#pragma once

#include <cstdint>

#include "common/clock.h"
#include "common/config/model_config.h"

namespace longhand::cluster {

// Of the decoder's tokens, over a rank's weights.
Duration LongestForTokens(int64_t num_tokens, int64_t weight_bytes);

// Of blocks [layer_begin, layer_end) of the image encoder, for a picture of so many patches. In a
// block of full attention each patch sees all others, so that a large one takes minutes on a few
// processors.
Duration LongestForPicture(const VisionConfig& vision,
                           int64_t num_patches,
                           int64_t layer_begin,
                           int64_t layer_end);

}  // namespace longhand::cluster
