// How near a text's length is to what was asked for. There are two scores called S_l.
#pragma once

#include <algorithm>
#include <cstdint>

namespace longhand {
namespace internal {

// Both lengths count 2 at least.
inline double LengthScore(int64_t written, double wanted, double short_share, double long_share) {
  const double is = std::max(static_cast<double>(written), 2.0);
  const double should = std::max(wanted, 2.0);
  const double off = should > is ? (should / is - 1) / short_share : (is / should - 1) / long_share;
  return 100 * std::max(0.0, 1 - off);
}

}  // namespace internal

// 0 to 100, as LongWriter-V's code computes it: too short costs a third of wanted / written - 1,
// too long a half of written / wanted - 1.
inline double LengthScore(int64_t written, double wanted) {
  return internal::LengthScore(written, wanted, 3, 2);
}
// As the paper's formula 6 has it: the third and the half the other way round.
inline double PaperLengthScore(int64_t written, double wanted) {
  return internal::LengthScore(written, wanted, 2, 3);
}

}  // namespace longhand
