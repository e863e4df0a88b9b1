#include "coordinator/engine/step_pace.h"

#include <gtest/gtest.h>

namespace longhand::engine {
namespace {

using std::chrono::milliseconds;

constexpr StepWork kDecode{.has_streams = true};

// A machine on which everything takes its time.
struct Machine {
  double decode_ms, prefill_ms_each, encode_ms_each;
  Duration Run(const StepWork& work) const {
    return std::chrono::microseconds(static_cast<int64_t>(
        1000 * ((work.has_streams ? decode_ms : 0) +
                static_cast<double>(work.num_prefill_tokens) * prefill_ms_each +
                static_cast<double>(work.num_patch_layers) * encode_ms_each)));
  }
};
constexpr Machine kSlow{50, 2, 0.2};

TEST(StepPaceTest, NothingIsHeldBackBeforeAStepWasSeen) {
  const StepPace pace(milliseconds(500));
  EXPECT_EQ(pace.MaxPrefillTokens(kDecode, 512), 512);
  EXPECT_EQ(pace.MaxPatchLayers(true, 65536), 65536);
}

TEST(StepPaceTest, AStepBesideStreamsTakesWhatIsAimedAt) {
  StepPace pace(milliseconds(500));
  StepWork work = kDecode;
  pace.Observe(work, kSlow.Run(work));
  work.num_prefill_tokens = 512;
  pace.Observe(work, kSlow.Run(work));
  EXPECT_EQ(pace.MaxPrefillTokens(kDecode, 512), (500 - 50) / 2);
}

TEST(StepPaceTest, WithoutStreamsAStepTakesFourTimesAsLong) {
  StepPace pace(milliseconds(500));
  StepWork work{.num_prefill_tokens = 2048};
  pace.Observe(work, kSlow.Run(work));
  EXPECT_EQ(pace.MaxPrefillTokens({}, 2048), 1000);
}

TEST(StepPaceTest, AQuickMachineHasTheConfiguredBounds) {
  StepPace pace(milliseconds(500));
  const Machine quick{10, 0.05, 0.0005};
  for (const StepWork& work : {kDecode, StepWork{true, 512, 0}, StepWork{true, 512, 65536}})
    pace.Observe(work, quick.Run(work));
  EXPECT_EQ(pace.MaxPatchLayers(true, 65536), 65536);
  EXPECT_EQ(pace.MaxPrefillTokens({true, 0, 65536}, 512), 512);
}

TEST(StepPaceTest, ImagesAndPromptsShareAStep) {
  StepPace pace(milliseconds(500));
  for (const StepWork& work : {kDecode, StepWork{true, 512, 0}, StepWork{true, 100, 1000}})
    pace.Observe(work, kSlow.Run(work));
  EXPECT_EQ(pace.MaxPatchLayers(true, 65536), 2250);
  EXPECT_EQ(pace.MaxPrefillTokens({true, 0, 1000}, 512), (450 - 200) / 2);
  // A layer of a large image may take longer than the whole step should; prompts get on still.
  EXPECT_EQ(pace.MaxPrefillTokens({true, 0, 5000}, 512), StepPace::kLeastPrefillTokens);
  EXPECT_EQ(pace.MaxPrefillTokens({true, 0, 5000}, 7), 7);
}

// Where decoding alone takes longer than what is aimed at, prompts may double it.
TEST(StepPaceTest, SlowStreamsDoNotStarvePrompts) {
  StepPace pace(milliseconds(500));
  const Machine slower{2000, 20, 1};
  for (const StepWork& work : {kDecode, StepWork{true, 512, 0}})
    pace.Observe(work, slower.Run(work));
  EXPECT_EQ(pace.MaxPrefillTokens(kDecode, 512), 100);
}

TEST(StepPaceTest, WhatWasLearntFollowsTheMachine) {
  StepPace pace(milliseconds(500));
  StepWork work{true, 256, 0};
  pace.Observe(work, kSlow.Run(work));
  const Machine slower{50, 8, 1};
  for (int i = 0; i < 30; ++i) {
    pace.Observe(kDecode, slower.Run(kDecode));
    work.num_prefill_tokens = pace.MaxPrefillTokens(kDecode, 512);
    pace.Observe(work, slower.Run(work));
  }
  EXPECT_EQ(pace.MaxPrefillTokens(kDecode, 512), 56);
}

TEST(StepPaceTest, WithoutATargetNothingIsHeldBack) {
  StepPace pace(Duration::zero());
  for (const StepWork& work : {kDecode, StepWork{true, 512, 0}, StepWork{true, 0, 5000}})
    pace.Observe(work, kSlow.Run(work));
  EXPECT_EQ(pace.MaxPrefillTokens(kDecode, 512), 512);
  EXPECT_EQ(pace.MaxPatchLayers(true, 65536), 65536);
}

}  // namespace
}  // namespace longhand::engine
