// What makes the cell ready, and what does not.
#include "coordinator/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class Gate final : public engine::DeliveryGate {
 public:
  Status CheckAdmission() const override { return status; }
  bool IsFull() const override { return false; }
  Status status;
};

class HealthTest : public ::testing::Test {
 protected:
  struct Group {
    cluster::GroupStatus status = {.state = cluster::GroupState::kReady,
                                   .was_ready = true,
                                   .ranks = {{.load_progress = 1}, {.load_progress = 1}}};
    engine::EngineStats stats;
    bool engine_answers = true;
    std::function<void(const engine::EngineStats&)> asked;
    GroupUnderWatch UnderWatch() {
      return {.status = [this] { return status; },
              .ask_engine =
                  [this](auto done) {
                    asked = std::move(done);
                    if (engine_answers) asked(stats);
                    return true;
                  },
              .metrics = NoMetrics(),
              .num_ranks = 2};
    }
  };
  void LookFor(milliseconds time) {
    for (milliseconds passed(0); passed < time; passed += milliseconds(100)) {
      clock_.Advance(milliseconds(100));
      health_.Look();
    }
  }

  ManualClock clock_;
  Gate gate_;
  Group group_;
  Health health_{
      {.groups = {group_.UnderWatch()}, .gate = gate_, .clock = clock_, .metrics = NoMetrics()}};
};

TEST_F(HealthTest, AGroupIsReadyFromTheMomentItIsUpUntilItIsLost) {
  EXPECT_TRUE(health_.Check().ready);
  EXPECT_EQ(health_.Check().phase, "ready");
  EXPECT_EQ(health_.Check().percent, 100);
  LookFor(milliseconds(100));
  group_.status.state = cluster::GroupState::kConnecting;
  EXPECT_FALSE(health_.Check().ready);
}

TEST_F(HealthTest, WhileItLoadsItSaysHowFarItIs) {
  group_.status.state = cluster::GroupState::kLoading;
  group_.status.detail = "loading weights";
  group_.status.ranks[1].load_progress = 0.5;
  const cluster::Readiness readiness = health_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.phase, "loading");
  EXPECT_EQ(readiness.detail, "loading weights");
  EXPECT_EQ(readiness.percent, 75);
}

TEST_F(HealthTest, AGroupWithoutProgressIsNotReady) {
  group_.status.stalled = "no worker rank has made progress for 1700 ms";
  const cluster::Readiness readiness = health_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.phase, "stalled");
  EXPECT_EQ(readiness.detail, group_.status.stalled);
}

TEST_F(HealthTest, AnEngineThatDoesNotAnswerIsNotReadyUntilItDoes) {
  LookFor(milliseconds(100));
  group_.engine_answers = false;
  LookFor(milliseconds(1500));
  EXPECT_TRUE(health_.Check().ready);
  LookFor(milliseconds(300));
  EXPECT_FALSE(health_.Check().ready);
  EXPECT_THAT(health_.Check().detail, HasSubstr("the engine has not answered for"));
  group_.asked(group_.stats);
  LookFor(milliseconds(100));
  EXPECT_TRUE(health_.Check().ready);
}

// Then nobody looked.
TEST_F(HealthTest, AProcessThatStoodStillItselfBlamesNobody) {
  LookFor(milliseconds(100));
  group_.engine_answers = false;
  LookFor(milliseconds(200));
  clock_.Advance(std::chrono::minutes(1));
  health_.Look();
  EXPECT_TRUE(health_.Check().ready);
}

TEST_F(HealthTest, WhatCannotBeKeptIsNotPromised) {
  gate_.status = Unavailable("requests cannot be kept now: full");
  EXPECT_EQ(health_.Look().phase, "journal");
  gate_.status = OkStatus();
  EXPECT_TRUE(health_.Look().ready);
}

TEST_F(HealthTest, WhoDrainsIsNotReady) {
  group_.stats.draining = true;
  LookFor(milliseconds(200));
  EXPECT_EQ(health_.Check().phase, "draining");
}

TEST_F(HealthTest, WhoseServerStopsIsNotReadyFromThenOn) {
  EXPECT_TRUE(health_.Look().ready);
  health_.BeginDrain();
  EXPECT_EQ(health_.Check().phase, "draining");
  EXPECT_FALSE(health_.Look().ready);
  EXPECT_TRUE(health_.Check().was_ready);
}

TEST_F(HealthTest, StartUpIsOverOnceTokensCouldBeMade) {
  group_.status.state = cluster::GroupState::kLoading;
  EXPECT_FALSE(health_.Look().was_ready);
  group_.status.state = cluster::GroupState::kReady;
  EXPECT_TRUE(health_.Look().was_ready);
  group_.status.state = cluster::GroupState::kLoading;
  EXPECT_TRUE(health_.Check().was_ready);
}

class HealthOfTwoGroupsTest : public HealthTest {
 protected:
  Group other_;
  Health both_{{.groups = {group_.UnderWatch(), other_.UnderWatch()},
                .gate = gate_,
                .clock = clock_,
                .metrics = NoMetrics()}};
};

TEST_F(HealthOfTwoGroupsTest, AllAreAwaitedAtFirstAndThenOneIsEnough) {
  other_.status.state = cluster::GroupState::kLoading;
  other_.status.was_ready = false;
  other_.status.detail = "loading weights";
  other_.status.ranks[0].load_progress = 0;
  cluster::Readiness readiness = both_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.phase, "loading");
  EXPECT_EQ(readiness.percent, 75);
  EXPECT_EQ(readiness.detail, "group 1 loading: loading weights");

  // The first is lost while the second comes up, which nobody looked at: each has been up.
  other_.status.state = cluster::GroupState::kReady;
  other_.status.was_ready = true;
  group_.status.state = cluster::GroupState::kConnecting;
  readiness = both_.Check();
  EXPECT_TRUE(readiness.ready);
  EXPECT_EQ(readiness.phase, "ready");
  EXPECT_EQ(readiness.detail, "group 0 connecting");
  const std::vector<cluster::Readiness> groups = both_.CheckGroups();
  EXPECT_FALSE(groups[0].ready);
  EXPECT_TRUE(groups[1].ready);

  other_.status.stalled = "a rank has stood still";
  readiness = both_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.detail, "group 0 connecting; group 1 stalled: a rank has stood still");
}

// A coordinator that starts anew while a host is gone.
TEST_F(HealthOfTwoGroupsTest, AGroupThatDoesNotComeIsNotAwaitedForEver) {
  other_.status.state = cluster::GroupState::kConnecting;
  other_.status.was_ready = false;
  EXPECT_FALSE(both_.Look().ready);
  clock_.Advance(std::chrono::seconds(61));
  EXPECT_TRUE(both_.Look().ready);
  EXPECT_TRUE(both_.Check().ready);
}

TEST_F(HealthOfTwoGroupsTest, WhoDrainsDrainsWithAllGroups) {
  EXPECT_TRUE(both_.Look().ready);
  other_.stats.draining = true;
  for (int i = 0; i < 2; ++i) both_.Look();
  EXPECT_EQ(both_.Check().phase, "draining");
}

}  // namespace
}  // namespace longhand
