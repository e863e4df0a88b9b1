// The length score of LongWriter-V's benchmarks, S_l.
#pragma once

#include <algorithm>
#include <cstdint>

namespace longhand {

// 0 to 100, of a text of `written` words where `wanted` were asked for, as the published code
// scores it: a text that is twice as long gets 50, one that is half as long 66.7. Both numbers
// count as 2 at least.
inline double LengthScore(int64_t written, int64_t wanted) {
  const double is = static_cast<double>(std::max<int64_t>(written, 2));
  const double should = static_cast<double>(std::max<int64_t>(wanted, 2));
  const double off = is > should ? (is / should - 1) / 2 : (should / is - 1) / 3;
  return 100 * std::max(0.0, 1 - off);
}

}  // namespace longhand
