// Which sizes pictures are shown to the model at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/config/model_config.h"
#include "common/status.h"
#include "coordinator/input/smart_resize.h"

namespace longhand::input {

struct PixelPolicy {
  int64_t min_pixels = 0;
  int64_t max_pixels = 0;
  std::optional<ImageSize> fixed_size;  // every picture exactly this size, whatever its shape

  // Pixels of the largest picture that comes of it, in cells of factor x factor.
  int64_t LargestPicture(int32_t factor) const;
  std::string ToString() const;  // "3136 to 12845056 pixels", for the line printed at start
};

// `name`: "checkpoint" (what its preprocessor file says), "longwriter" (50,176 to 1,048,576 pixels,
// as LongWriter-V's own script), "training" (280 x 280, as its training data). min_pixels and
// max_pixels override the policy's where they are not 0. kInvalidArgument for another name, a
// minimum over the maximum, or an override of a fixed size.
Result<PixelPolicy> MakePixelPolicy(std::string_view name,
                                    const ImagePolicy& checkpoint,
                                    int64_t min_pixels,
                                    int64_t max_pixels);

}  // namespace longhand::input
