#include "coordinator/input/placeholders.h"

#include <algorithm>
#include <numeric>

namespace longhand::input {
namespace {

PlacedPrompt RepeatEach(const std::vector<int32_t>& token_ids,
                        int32_t image_token_id,
                        std::span<const int64_t> num_image_tokens,
                        int64_t total) {
  PlacedPrompt prompt;
  prompt.token_ids.reserve(token_ids.size() - num_image_tokens.size() + static_cast<size_t>(total));
  for (const int32_t id : token_ids) {
    const int64_t count = id == image_token_id ? num_image_tokens[prompt.images.size()] : 1;
    if (id == image_token_id) {
      prompt.images.push_back({static_cast<int64_t>(prompt.token_ids.size()), count});
    }
    prompt.token_ids.insert(prompt.token_ids.end(), static_cast<size_t>(count), id);
  }
  return prompt;
}

Result<PlacedPrompt> FindRepeated(std::vector<int32_t> token_ids,
                                  int32_t image_token_id,
                                  std::span<const int64_t> num_image_tokens) {
  PlacedPrompt prompt;
  auto position = token_ids.begin();
  for (size_t i = 0; i < num_image_tokens.size(); ++i) {
    position = std::find(position, token_ids.end(), image_token_id);
    const auto end =
        std::find_if(position, token_ids.end(), [&](int32_t id) { return id != image_token_id; });
    if (end - position < num_image_tokens[i]) {
      return InvalidArgument("image ", i, " has ", end - position,
                             " image tokens in a row; it takes ", num_image_tokens[i])
          .About("prompt");
    }
    prompt.images.push_back({position - token_ids.begin(), num_image_tokens[i]});
    position += num_image_tokens[i];
  }
  prompt.token_ids = std::move(token_ids);
  return prompt;
}

}  // namespace

Result<PlacedPrompt> ExpandPlaceholders(std::vector<int32_t> token_ids,
                                        int32_t image_token_id,
                                        std::span<const int64_t> num_image_tokens) {
  const int64_t num_images = static_cast<int64_t>(num_image_tokens.size());
  const int64_t total =
      std::accumulate(num_image_tokens.begin(), num_image_tokens.end(), int64_t{0});
  const int64_t found = std::count(token_ids.begin(), token_ids.end(), image_token_id);
  if (found == num_images) return RepeatEach(token_ids, image_token_id, num_image_tokens, total);
  if (found == total) return FindRepeated(std::move(token_ids), image_token_id, num_image_tokens);
  return InvalidArgument("the prompt has ", found, " image placeholders for ", num_images,
                         " images; it must have one for each",
                         num_images == 0 ? "" : ", or one for each of their ",
                         num_images == 0 ? "" : std::to_string(total),
                         num_images == 0 ? "" : " tokens")
      .About("prompt");
}

}  // namespace longhand::input
