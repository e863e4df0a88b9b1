// LengthScore: how near a text came to the words it was to have, as LongWriter-V's code scores it
// (S_l).
#pragma once

#include <algorithm>
#include <cstdint>

namespace longhand {

// 0 to 100. Nothing is left at four times too short or three times too long; counts below two are
// taken for two.
inline double LengthScore(int64_t written, int64_t wanted) {
  const auto has = static_cast<double>(std::max<int64_t>(written, 2));
  const auto should = static_cast<double>(std::max<int64_t>(wanted, 2));
  const double miss = has < should ? (should / has - 1) / 3 : (has / should - 1) / 2;
  return 100 * std::max(0.0, 1 - miss);
}

}  // namespace longhand
