// RecordedPrompt: a case of the recording as the workers get it, so that the model is tested
// without the code that prepares prompts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/step_plan.h"
#include "tests/parity/recording.h"

namespace longhand::parity {

struct RecordedImage {
  ContentHash hash{};
  int32_t height = 0;  // resized
  int32_t width = 0;
  std::vector<uint8_t> pixels;
  int64_t offset = 0;  // first token in the prompt
  int64_t num_tokens = 0;
  int32_t adapter = -1;  // slot of the adapter that it is encoded with, which the hash tells apart
};

struct RecordedPrompt {
  std::string name;
  std::vector<int32_t> token_ids;  // [N]
  std::vector<int32_t> positions;  // [N, 3]
  int32_t rope_delta = 0;
  std::vector<RecordedImage> images;
  int32_t adapter = -1;  // slot
};

RecordedPrompt LoadPrompt(const Recording& recording,
                          std::string_view case_name,
                          int32_t image_token_id);

}  // namespace longhand::parity
