#include "coordinator/input/positions.h"

#include <algorithm>

#include "common/check.h"

namespace longhand::input {

PromptPositions ComputePositions(int64_t num_tokens,
                                 std::span<const PlacedImage> images,
                                 std::span<const TokenGrid> grids) {
  LONGHAND_CHECK_EQ(images.size(), grids.size());
  PromptPositions result;
  std::vector<int32_t>& positions = result.positions;
  positions.reserve(static_cast<size_t>(num_tokens) * 3);
  int64_t token = 0;  // the next one without a position
  int32_t next = 0;   // where text would stand
  const auto append = [&positions](int32_t time, int32_t height, int32_t width) {
    positions.insert(positions.end(), {time, height, width});
  };
  const auto append_text_until = [&](int64_t end) {
    for (; token < end; ++token, ++next) append(next, next, next);
  };
  for (size_t i = 0; i < images.size(); ++i) {
    const TokenGrid& grid = grids[i];
    LONGHAND_CHECK(images[i].offset >= token &&
                   images[i].offset + images[i].num_tokens <= num_tokens &&
                   images[i].num_tokens == grid.num_tokens())
        << "image " << i << " at " << images[i].offset << " of " << images[i].num_tokens
        << " tokens, grid " << grid.height << " x " << grid.width;
    append_text_until(images[i].offset);
    for (int32_t row = 0; row < grid.height; ++row) {
      for (int32_t column = 0; column < grid.width; ++column)
        append(next, next + row, next + column);
    }
    token += images[i].num_tokens;
    next += std::max(grid.height, grid.width);
  }
  append_text_until(num_tokens);
  result.rope_delta = static_cast<int32_t>(next - num_tokens);
  return result;
}

}  // namespace longhand::input
