#include "coordinator/cluster/progress_judge.h"

#include <algorithm>

#include "common/duration.h"

namespace longhand::cluster {

int32_t FindSilentRank(const std::vector<Heartbeat>& ranks, Duration limit) {
  const auto silent = std::find_if(
      ranks.begin(), ranks.end(), [&](const Heartbeat& rank) { return rank.silent_for() > limit; });
  return silent == ranks.end() ? -1 : static_cast<int32_t>(silent - ranks.begin());
}

int32_t FindStuckRank(const std::vector<Heartbeat>& ranks, Duration limit, Operations operations) {
  const auto stuck = std::find_if(ranks.begin(), ranks.end(), [&](const Heartbeat& rank) {
    const PulseState& pulse = rank.latest();
    const bool may_be_long =
        operations == Operations::kLong && pulse.is_busy && !pulse.tells_pieces;
    return !pulse.waits_for_peers && !may_be_long && rank.still_for() > limit;
  });
  return stuck == ranks.end() ? -1 : static_cast<int32_t>(stuck - ranks.begin());
}

std::string WhyStalled(const std::vector<Heartbeat>& ranks, Duration operation_limit) {
  if (const int32_t rank = FindSilentRank(ranks, kStillLimit); rank >= 0) {
    return "worker rank " + std::to_string(rank) + " has not been heard for " +
           std::to_string(Milliseconds(ranks[static_cast<size_t>(rank)].silent_for())) + " ms";
  }
  if (const int32_t rank = FindStuckRank(ranks, kStillLimit, Operations::kLong); rank >= 0) {
    return "worker rank " + std::to_string(rank) + " has stood still for " +
           std::to_string(Milliseconds(ranks[static_cast<size_t>(rank)].still_for())) + " ms";
  }
  // Each waits for a peer, or for a device that does not say how far it is.
  Duration shortest = Duration::max();
  bool tells = true;
  for (const Heartbeat& rank : ranks) {
    shortest = std::min(shortest, rank.still_for());
    tells &= rank.latest().tells_pieces;
  }
  if (ranks.empty() || shortest <= (tells ? kStillLimit : std::max(kStillLimit, operation_limit)))
    return "";
  return "no worker rank has made progress for " + std::to_string(Milliseconds(shortest)) + " ms";
}

}  // namespace longhand::cluster
