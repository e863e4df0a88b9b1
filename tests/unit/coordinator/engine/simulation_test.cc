#include "tests/unit/coordinator/engine/simulation.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace longhand::engine {
namespace {

class SimulationTest : public testing::TestWithParam<int32_t> {};

// Whatever the batch, chunk and cache sizes, priorities, preemptions, cancellations, deadlines,
// lost groups and coordinators around it, each answer is the one that its request alone defines.
// Both depths are held to the same answers.
TEST_P(SimulationTest, EveryAnswerIsAFunctionOfItsRequest) {
  int64_t num_steps = 0;
  int64_t num_restarts = 0;
  int64_t num_preemptions = 0;
  int64_t num_swaps = 0;
  std::map<StatusCode, int64_t> num_ended;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed, GetParam());
    simulation.Run(/*num_turns=*/500);
    num_steps += simulation.num_steps();
    num_restarts += simulation.num_restarts();
    num_preemptions += simulation.num_preemptions();
    num_swaps += simulation.num_swaps();
    for (const auto& [code, count] : simulation.num_ended()) num_ended[code] += count;
    if (HasFailure()) break;
  }
  std::printf("seeds 1 to 300: %ld steps, %ld restarts, %ld preemptions, %ld blocks swapped in",
              static_cast<long>(num_steps), static_cast<long>(num_restarts),
              static_cast<long>(num_preemptions), static_cast<long>(num_swaps));
  for (const auto& [code, count] : num_ended) {
    std::printf(", %ld %s", static_cast<long>(count), std::string(StatusCodeName(code)).c_str());
  }
  std::printf("\n");
  // The traffic reached what it is meant to reach.
  EXPECT_GT(num_steps, 50'000);
  EXPECT_GT(num_restarts, 300);
  EXPECT_GT(num_preemptions, 20);
  EXPECT_GT(num_swaps, 10);
  EXPECT_GT(num_ended[StatusCode::kOk], 3'000);
  for (const StatusCode code :
       {StatusCode::kCancelled, StatusCode::kDeadlineExceeded, StatusCode::kUnavailable,
        StatusCode::kResourceExhausted, StatusCode::kInvalidArgument}) {
    EXPECT_GT(num_ended[code], 20) << StatusCodeName(code);
  }
}

// Long enough for every queue to fill and every cache to turn over many times.
TEST_P(SimulationTest, ALongRunLeavesNothingBehind) {
  Simulation simulation(/*seed=*/20261122, GetParam());
  simulation.Run(/*num_turns=*/20'000);
  EXPECT_GT(simulation.num_steps(), 4'000);
}

INSTANTIATE_TEST_SUITE_P(Depth, SimulationTest, testing::Values(0, 1));

}  // namespace
}  // namespace longhand::engine
