#include "tests/parity/recorded_prompt.h"

#include <algorithm>

namespace longhand::parity {
namespace {

RecordedImage LoadImage(const Recording& recording, const std::string& file) {
  const std::string name = "img/" + file + "/resized";
  RecordedImage image{.pixels = recording.Bytes(name)};
  image.height = static_cast<int32_t>(recording.Shape(name)[0]);
  image.width = static_cast<int32_t>(recording.Shape(name)[1]);
  image.num_tokens = int64_t{image.height} * image.width / (28 * 28);
  // Any name that differs from picture to picture would do.
  std::copy_n(file.begin(), std::min(file.size(), image.hash.size()), image.hash.begin());
  return image;
}

}  // namespace

RecordedPrompt LoadPrompt(const Recording& recording,
                          std::string_view case_name,
                          int32_t image_token_id) {
  const std::string key = "case/" + std::string(case_name);
  RecordedPrompt prompt{.name = std::string(case_name)};
  prompt.token_ids = recording.Ints(key + "/input_ids");
  prompt.rope_delta = static_cast<int32_t>(recording.Case(case_name).at("rope_delta").as_int64());
  const std::vector<int32_t> by_axis = recording.Ints(key + "/position_ids");  // [3, N]
  const size_t num_tokens = prompt.token_ids.size();
  for (size_t token = 0; token < num_tokens; ++token) {
    for (size_t axis = 0; axis < 3; ++axis) {
      prompt.positions.push_back(by_axis[axis * num_tokens + token]);
    }
  }
  auto next = prompt.token_ids.begin();
  for (const std::string& file : recording.CaseImages(case_name)) {
    RecordedImage image = LoadImage(recording, file);
    next = std::find(next, prompt.token_ids.end(), image_token_id);
    image.offset = next - prompt.token_ids.begin();
    LONGHAND_CHECK(image.offset + image.num_tokens <= static_cast<int64_t>(num_tokens))
        << case_name << ": too few tokens for " << file;
    next += image.num_tokens;
    prompt.images.push_back(std::move(image));
  }
  return prompt;
}

}  // namespace longhand::parity
