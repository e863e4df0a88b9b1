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
  HealthTest() {
    group_.state = cluster::GroupState::kReady;
    group_.ranks = {{.load_progress = 1}, {.load_progress = 1}};
  }
  void LookFor(milliseconds time) {
    for (milliseconds passed(0); passed < time; passed += milliseconds(100)) {
      clock_.Advance(milliseconds(100));
      health_.Look();
    }
  }

  ManualClock clock_;
  Gate gate_;
  cluster::GroupStatus group_;
  engine::EngineStats stats_;
  bool engine_answers_ = true;
  std::function<void(const engine::EngineStats&)> asked_;
  Health health_{{.group = [this] { return group_; },
                  .ask_engine =
                      [this](auto done) {
                        asked_ = std::move(done);
                        if (engine_answers_) asked_(stats_);
                        return true;
                      },
                  .gate = gate_,
                  .clock = clock_,
                  .metrics = NoMetrics(),
                  .num_ranks = 2}};
};

TEST_F(HealthTest, AGroupIsReadyFromTheMomentItIsUpUntilItIsLost) {
  EXPECT_TRUE(health_.Check().ready);
  EXPECT_EQ(health_.Check().phase, "ready");
  EXPECT_EQ(health_.Check().percent, 100);
  LookFor(milliseconds(100));
  group_.state = cluster::GroupState::kConnecting;
  EXPECT_FALSE(health_.Check().ready);
}

TEST_F(HealthTest, WhileItLoadsItSaysHowFarItIs) {
  group_.state = cluster::GroupState::kLoading;
  group_.detail = "loading weights";
  group_.ranks[1].load_progress = 0.5;
  const cluster::Readiness readiness = health_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.phase, "loading");
  EXPECT_EQ(readiness.detail, "loading weights");
  EXPECT_EQ(readiness.percent, 75);
}

TEST_F(HealthTest, AGroupWithoutProgressIsNotReady) {
  group_.stalled = "no worker rank has made progress for 1700 ms";
  const cluster::Readiness readiness = health_.Look();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.phase, "stalled");
  EXPECT_EQ(readiness.detail, group_.stalled);
}

TEST_F(HealthTest, AnEngineThatDoesNotAnswerIsNotReadyUntilItDoes) {
  LookFor(milliseconds(100));
  engine_answers_ = false;
  LookFor(milliseconds(1500));
  EXPECT_TRUE(health_.Check().ready);
  LookFor(milliseconds(300));
  EXPECT_FALSE(health_.Check().ready);
  EXPECT_THAT(health_.Check().detail, HasSubstr("the engine has not answered for"));
  asked_(stats_);
  LookFor(milliseconds(100));
  EXPECT_TRUE(health_.Check().ready);
}

// Then nobody looked.
TEST_F(HealthTest, AProcessThatStoodStillItselfBlamesNobody) {
  LookFor(milliseconds(100));
  engine_answers_ = false;
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
  stats_.draining = true;
  LookFor(milliseconds(200));
  EXPECT_EQ(health_.Check().phase, "draining");
}

}  // namespace
}  // namespace longhand
