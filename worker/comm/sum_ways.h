// SumWays: which way sums over the ranks of a host go, by size. All ways have the same bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::comm {

enum class SumWay : uint8_t { kOneShot, kTwoShots, kOther };
inline constexpr std::array kSumWays = {SumWay::kOneShot, SumWay::kTwoShots, SumWay::kOther};

// Microseconds by way; infinite where a sum of that size cannot go it.
struct SumTimes {
  size_t bytes = 0;
  std::array<double, kSumWays.size()> us = {};

  double of(SumWay way) const { return us[static_cast<size_t>(way)]; }
};

class SumWays {
 public:
  // All sums go the other way.
  SumWays() = default;
  // Up to `one_shot` bytes, and from there up to `two_shots`.
  SumWays(size_t one_shot, size_t two_shots);
  // Of sizes in ascending order, each timed by itself; a size between two goes as the larger. Times
  // that differ by less than 5% are noise: then the way of the size before is kept, and one shot at
  // first.
  static SumWays Choose(const std::vector<SumTimes>& times);
  // What Encode() wrote: as a rank tells it the others.
  static Result<SumWays> Decode(const std::string& text);
  std::string Encode() const;

  SumWay For(size_t bytes) const;
  // Whether all sums of up to `bytes` go by kernels that read their peers.
  bool AreKernelsUpTo(size_t bytes) const;
  // "one shot up to 65536 bytes, two shots up to 4194304 bytes, the other way beyond"
  std::string ToString() const;

 private:
  struct Step {
    SumWay way;
    size_t max_bytes;
  };
  void Append(SumWay way, size_t max_bytes);

  std::vector<Step> steps_;  // ascending, neighbours differ
};

}  // namespace longhand::comm
