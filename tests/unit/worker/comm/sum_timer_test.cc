#include "worker/comm/sum_timer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/comm/paced_device.h"

namespace longhand::comm {
namespace {

using std::chrono::microseconds;

constexpr size_t kMost = 1 << 20;

class SumTimerTest : public testing::Test {
 protected:
  SumTimerTest() {
    auto ops = kernels::CreateEmulatedOps();
    LONGHAND_CHECK(ops.ok()) << ops.status();
    ops_ = std::move(ops).value();
    device_ = std::make_unique<PacedDevice>(*ops_, clock_);
    device_->cost = [](const PeerReduceArgs& args) {
      return microseconds(args.two_shot ? 20 : 10);
    };
    device_->norm_cost = microseconds(5);
    inner_.cost = [](size_t) { return microseconds(8); };
    group_ = device_->MakePeerGroup();
    group_.size = 2;
  }
  SumTimes Time(size_t bytes) {
    auto timer = SumTimer::Create(group_, *device_, inner_, [this] { return clock_.Now(); }, kMost);
    LONGHAND_CHECK(timer.ok()) << timer.status();
    auto times = timer->Time(bytes);
    LONGHAND_CHECK(times.ok()) << times.status();
    return *times;
  }

  ManualClock clock_;
  std::unique_ptr<kernels::CudaOps> ops_;
  std::unique_ptr<PacedDevice> device_;
  PacedCommunicator inner_{0, 2, clock_};
  PeerGroup group_;
};

// The other way's sum is quicker, and its norm is a launch of its own.
TEST_F(SumTimerTest, TheNormBehindASumCounts) {
  bool are_fused = true;
  device_->cost = [&](const PeerReduceArgs& args) {
    are_fused = are_fused && !args.residual.empty() && !args.weight.empty() && !args.out.empty();
    return microseconds(10);
  };
  EXPECT_EQ(Time(16384).of(SumWay::kOther), 13);
  EXPECT_TRUE(are_fused);
}

// A mean would make of one shot what it is not.
TEST_F(SumTimerTest, FourOfNineRoundsThatAreSlowChangeNothing) {
  int calls = 0;
  device_->cost = [&](const PeerReduceArgs& args) {
    if (args.two_shot) return microseconds(20);
    // Eleven calls of one shot are a round.
    return microseconds(++calls <= 4 * 11 ? 1000 : 10);
  };
  const SumTimes times = Time(4096);
  EXPECT_EQ(times.bytes, 4096u);
  EXPECT_EQ(times.of(SumWay::kOneShot), 10);
  EXPECT_EQ(times.of(SumWay::kTwoShots), 20);
  EXPECT_EQ(calls, 9 * 11);
}

TEST_F(SumTimerTest, TheWaysTakeTurns) {
  std::string order;
  const auto note = [&](char way) {
    if (order.empty() || order.back() != way) order += way;
    return microseconds(1);
  };
  device_->cost = [&](const PeerReduceArgs& args) { return note(args.two_shot ? '2' : '1'); };
  inner_.cost = [&](size_t) { return note('o'); };
  Time(4096);
  std::string turns;
  for (int round = 0; round < 9; ++round) turns += "12o";
  EXPECT_EQ(order, turns);
}

// Three ranks' shares of 1 MiB are larger than a block's region.
TEST_F(SumTimerTest, AWayThatASizeDoesNotFitIsNotTried) {
  group_.size = 3;
  device_->cost = [](const PeerReduceArgs& args) {
    EXPECT_FALSE(args.two_shot);
    return microseconds(10);
  };
  const SumTimes times = Time(kMost);
  EXPECT_EQ(times.of(SumWay::kOneShot), 10);
  EXPECT_TRUE(std::isinf(times.of(SumWay::kTwoShots)));
}

}  // namespace
}  // namespace longhand::comm
