#include "worker/comm/sum_ways.h"

#include <algorithm>
#include <sstream>
#include <string_view>

namespace longhand::comm {
namespace {

// On an H200 the times of one way differed by up to 0.4% from one group to the next.
constexpr double kNoise = 0.05;

constexpr std::array<std::string_view, kSumWays.size()> kNames = {"one shot", "two shots",
                                                                  "the other way"};
SumWay Quickest(const SumTimes& times) {
  return *std::min_element(kSumWays.begin(), kSumWays.end(),
                           [&](SumWay a, SumWay b) { return times.of(a) < times.of(b); });
}

}  // namespace

SumWays::SumWays(size_t one_shot, size_t two_shots) {
  Append(SumWay::kOneShot, one_shot);
  Append(SumWay::kTwoShots, two_shots);
}

SumWays SumWays::Choose(const std::vector<SumTimes>& times) {
  SumWays ways;
  SumWay way = SumWay::kOneShot;
  for (const SumTimes& size : times) {
    const SumWay quickest = Quickest(size);
    const bool is_noise = size.of(quickest) >= (1 - kNoise) * size.of(way);
    if (!is_noise) way = quickest;
    ways.Append(way, size.bytes);
  }
  // What lies beyond all sizes is the other way's.
  if (!ways.steps_.empty() && ways.steps_.back().way == SumWay::kOther) ways.steps_.pop_back();
  return ways;
}

void SumWays::Append(SumWay way, size_t max_bytes) {
  if (!steps_.empty() && steps_.back().way == way) steps_.pop_back();
  steps_.push_back({way, max_bytes});
}

SumWay SumWays::For(size_t bytes) const {
  for (const Step& step : steps_) {
    if (bytes <= step.max_bytes) return step.way;
  }
  return SumWay::kOther;
}

bool SumWays::AreKernelsUpTo(size_t bytes) const {
  for (const Step& step : steps_) {
    if (step.way == SumWay::kOther) return false;
    if (bytes <= step.max_bytes) return true;
  }
  return false;
}

std::string SumWays::ToString() const {
  std::ostringstream text;
  for (const Step& step : steps_) {
    text << kNames[static_cast<size_t>(step.way)] << " up to " << step.max_bytes << " bytes, ";
  }
  text << kNames.back() << " beyond";
  return text.str();
}

std::string SumWays::Encode() const {
  std::ostringstream text;
  for (const Step& step : steps_)
    text << static_cast<int>(step.way) << " " << step.max_bytes << " ";
  return text.str();
}

Result<SumWays> SumWays::Decode(const std::string& text) {
  SumWays ways;
  std::istringstream numbers(text);
  size_t way = 0, bytes = 0;
  while (numbers >> way) {
    if (way >= kSumWays.size() || !(numbers >> bytes)) break;
    ways.Append(kSumWays[way], bytes);
  }
  if (ways.Encode() == text) return ways;
  return Internal("'", text, "' does not say how sums go; pairs of a way (0 to 2) and a size do");
}

}  // namespace longhand::comm
