// Who is not heard, who is stuck, and who merely waits or works.
#include "coordinator/cluster/progress_judge.h"

#include <gtest/gtest.h>

namespace longhand::cluster {
namespace {

using std::chrono::milliseconds;

// A rank that pulsed `still` ms ago with the progress that it had since then, and is heard.
Heartbeat Rank(int still_ms, PulseState pulse = {}) {
  Heartbeat heartbeat;
  pulse.progress = 7;
  heartbeat.OnPulse(pulse);
  heartbeat.OnTime(milliseconds(still_ms));
  heartbeat.OnPulse(pulse);
  return heartbeat;
}

constexpr PulseState kWaits = {.is_busy = true, .waits_for_peers = true, .tells_pieces = true};
constexpr PulseState kComputes = {.is_busy = true, .tells_pieces = true};
constexpr PulseState kOnAGpu = {.is_busy = true};

TEST(Heartbeat, OnlyProgressEndsStandingStill) {
  Heartbeat heartbeat;
  heartbeat.OnPulse({.progress = 1});
  heartbeat.OnTime(milliseconds(300));
  EXPECT_EQ(heartbeat.silent_for(), milliseconds(300));
  heartbeat.OnPulse({.progress = 1});
  EXPECT_EQ(heartbeat.silent_for(), Duration::zero());
  EXPECT_EQ(heartbeat.still_for(), milliseconds(300));
  heartbeat.OnPulse({.progress = 2});
  EXPECT_EQ(heartbeat.still_for(), Duration::zero());
}

TEST(ProgressJudge, ARankThatIsNotHeardIsFound) {
  Heartbeat silent = Rank(0);
  silent.OnTime(milliseconds(1501));
  EXPECT_EQ(FindSilentRank({Rank(0), silent}, milliseconds(1500)), 1);
  EXPECT_EQ(FindSilentRank({Rank(0), silent}, milliseconds(1501)), -1);
  EXPECT_EQ(WhyStalled({Rank(0), silent}, Duration::max()),
            "worker rank 1 has not been heard for 1501 ms");
}

TEST(ProgressJudge, AnIdleThreadThatDoesNotTurnIsStuck) {
  EXPECT_EQ(FindStuckRank({Rank(0), Rank(1501)}, kStillLimit, Operations::kLong), 1);
  EXPECT_EQ(WhyStalled({Rank(0), Rank(1501)}, Duration::max()),
            "worker rank 1 has stood still for 1501 ms");
  EXPECT_EQ(WhyStalled({Rank(100), Rank(1400)}, Duration::max()), "");
}

TEST(ProgressJudge, WhoWaitsForAPeerIsNotStuckAndThePeerIs) {
  EXPECT_EQ(
      FindStuckRank({Rank(5000, kWaits), Rank(5000, kComputes)}, kStillLimit, Operations::kLong),
      1);
  EXPECT_EQ(WhyStalled({Rank(5000, kWaits), Rank(100, kComputes)}, Duration::max()), "");
}

TEST(ProgressJudge, AGroupThatOnlyWaitsIsStalledAndNobodyIsBlamed) {
  const std::vector<Heartbeat> ranks = {Rank(1800, kWaits), Rank(1700, kWaits)};
  EXPECT_EQ(FindStuckRank(ranks, kStillLimit, Operations::kLong), -1);
  EXPECT_EQ(WhyStalled(ranks, Duration::max()), "no worker rank has made progress for 1700 ms");
}

TEST(ProgressJudge, ADeviceThatTellsNoPiecesHasTheTimeOfItsOperation) {
  const std::vector<Heartbeat> ranks = {Rank(4000, kOnAGpu)};
  EXPECT_EQ(WhyStalled(ranks, milliseconds(5000)), "");
  EXPECT_EQ(WhyStalled(ranks, milliseconds(3000)), "no worker rank has made progress for 4000 ms");
  EXPECT_EQ(FindStuckRank(ranks, kStillLimit, Operations::kLong), -1);
  EXPECT_EQ(FindStuckRank(ranks, kStillLimit, Operations::kShort), 0);
}

}  // namespace
}  // namespace longhand::cluster
