// What every transport does when a rank does not come, leaves, or is told to stop.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/unit/worker/comm/rank_group.h"

namespace longhand::comm {
namespace {

// Long enough that no test could end by it.
constexpr std::chrono::hours kNever{1};

class Failure : public testing::TestWithParam<GroupParam> {};

Status Sum(Communicator& communicator, std::vector<float>& data) {
  return communicator.AllReduceSum(
      TensorView(data.data(), DType::kF32, {static_cast<int64_t>(data.size())}));
}

TEST_P(Failure, ARankThatDoesNotComeIsADeadlineExceeded) {
  // The group forms within it too, on a machine that has other work.
  RankGroup group(GetParam(), std::chrono::milliseconds(500));
  const Status status = group[0].Barrier();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
  // Dead from now on, at once: were it to wait again, the other ranks would be found by it.
  EXPECT_EQ(group[0].Barrier().code(), StatusCode::kDeadlineExceeded);
}

// Aborted at ever later moments of the call: before it, while it spins, while it sleeps.
TEST_P(Failure, AbortEndsThePendingCallAndAllLaterOnes) {
  for (int delay = 0; delay < 16; ++delay) {
    RankGroup group(GetParam(), kNever);
    std::atomic<bool> called{false};
    Status pending;
    std::vector<float> data(100'000, 1.0f);
    std::jthread rank([&] {
      called = true;
      pending = Sum(group[0], data);
    });
    while (!called) std::this_thread::yield();
    for (int turn = 0; turn < (1 << delay); ++turn) std::this_thread::yield();
    group[0].Abort();
    rank.join();
    EXPECT_EQ(pending.code(), StatusCode::kAborted) << pending;
  }
}

TEST_P(Failure, CallsAfterAnAbortFailAtOnce) {
  RankGroup group(GetParam(), kNever);
  group[0].Abort();
  std::vector<float> data(10, 1.0f);
  std::vector<float> all(10 * static_cast<size_t>(group.size()));
  const TensorView view(data.data(), DType::kF32, {10});
  EXPECT_EQ(group[0].AllReduceSum(view).code(), StatusCode::kAborted);
  EXPECT_EQ(group[0].Broadcast(view, 0).code(), StatusCode::kAborted);
  EXPECT_EQ(group[0].Barrier().code(), StatusCode::kAborted);
  EXPECT_EQ(
      group[0].AllGather(view, TensorView(all.data(), DType::kF32, {group.size(), 10})).code(),
      StatusCode::kAborted);
}

// The coordinator may abort one rank before it reaches the others: they must not wait for it.
TEST_P(Failure, PeersOfAnAbortedRankBecomeUnavailable) {
  RankGroup group(GetParam(), kNever);
  group.Run([&](Communicator& communicator) {
    std::vector<float> data(1000, 1.0f);
    if (communicator.rank() == 0) {
      communicator.Abort();
      EXPECT_EQ(Sum(communicator, data).code(), StatusCode::kAborted);
    } else {
      const Status status = Sum(communicator, data);
      EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
    }
  });
}

TEST_P(Failure, PeersOfARankThatEndsBecomeUnavailable) {
  RankGroup group(GetParam(), kNever);
  std::atomic<bool> destroyed{false};
  group.Run([&](Communicator& communicator) {
    const int rank = communicator.rank();
    ASSERT_TRUE(communicator.Barrier().ok());
    if (rank == 0) {
      group.Destroy(0);
      destroyed = true;
    } else {
      const Status status = communicator.Barrier();
      EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
    }
  });
  EXPECT_TRUE(destroyed);
}

// What a rank gave before it left is still valid: the last call of a group succeeds everywhere.
TEST_P(Failure, LeavingAfterTheLastCallHurtsNobody) {
  for (int round = 0; round < 10; ++round) {
    RankGroup group(GetParam(), kNever);
    group.Run([&](Communicator& communicator) {
      std::vector<float> data(50'000, 1.0f);
      const int size = communicator.size();
      const Status status = Sum(communicator, data);
      EXPECT_TRUE(status.ok()) << status;
      group.Destroy(communicator.rank());
      EXPECT_EQ(data, std::vector<float>(50'000, static_cast<float>(size)));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Transports,
                         Failure,
                         testing::Values(GroupParam{TestTransport::kSharedMemory, 2},
                                         GroupParam{TestTransport::kSharedMemoryChunks, 4},
                                         GroupParam{TestTransport::kNamedSharedMemory, 3},
                                         GroupParam{TestTransport::kGloo, 2},
                                         GroupParam{TestTransport::kGloo, 3}),
                         [](const auto& info) { return GroupName(info.param); });

}  // namespace
}  // namespace longhand::comm
