// What the NCCL communicator does when the library, a peer or the device fails. NCCL is its
// stand-in.
#include "worker/comm/nccl_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/unit/worker/comm/in_memory_store.h"
#include "tests/unit/worker/comm/nccl_stand_in/host_stream.h"
#include "tests/unit/worker/comm/nccl_stand_in/nccl_stand_in.h"

namespace longhand::comm {
namespace {

constexpr std::chrono::hours kNever{1};
constexpr std::chrono::milliseconds kSoon{50};

using Formed = Result<std::unique_ptr<NcclCommunicator>>;

class NcclCommunicatorTest : public testing::Test {
 protected:
  ~NcclCommunicatorTest() override {
    EXPECT_EQ(nccl_stand_in::LiveCommunicators(), 0);
    EXPECT_EQ(nccl_stand_in::Misuses(), misuses_before_);
    nccl_stand_in::HangInit(-1);
    nccl_stand_in::FailInit(-1, nccl::kSuccess);
    nccl_stand_in::HangDevice(-1);
    nccl_stand_in::SetVersion(23007);
  }

  Formed Connect(int rank,
                 int64_t epoch,
                 std::chrono::milliseconds timeout,
                 std::stop_token stop = {},
                 const std::string& library = nccl_stand_in::kPath) {
    return NcclCommunicator::Connect({.rank = rank,
                                      .size = 2,
                                      .group = "test",
                                      .epoch = epoch,
                                      .library = library,
                                      .timeout = timeout,
                                      .scratch_bytes = 1 << 16,
                                      .spin = epoch % 2 == 0},
                                     devices_[rank], store_, std::move(stop));
  }

  // Both ranks at one time.
  std::vector<Formed> ConnectBoth(int64_t epoch, std::chrono::milliseconds timeout) {
    std::vector<Formed> formed;
    for (int r = 0; r < 2; ++r) formed.push_back(Unavailable("not tried"));
    {
      std::jthread other([&] { formed[1] = Connect(1, epoch, timeout); });
      formed[0] = Connect(0, epoch, timeout);
    }
    return formed;
  }

  // Returns when the device is through with it: after a failure, it runs on over what there is.
  Status Sum(Communicator& communicator, std::vector<float>& data) {
    Status status = communicator.AllReduceSum(
        TensorView(data.data(), DType::kF32, {static_cast<int64_t>(data.size())}));
    if (status.ok()) status = communicator.Synchronize();
    HostDeviceStream& device = devices_[communicator.rank()];
    EXPECT_TRUE(device.Mark().ok());
    while (!*device.Reached()) std::this_thread::yield();
    return status;
  }

  const int misuses_before_ = nccl_stand_in::Misuses();
  HostDeviceStream devices_[2];
  InMemoryStore store_;
};

TEST_F(NcclCommunicatorTest, ALibraryThatIsNotThereIsUnimplementedAndSaysWhatToDo) {
  const Formed formed = Connect(0, 1, kNever, {}, "/nowhere/libnccl.so.2");
  EXPECT_EQ(formed.status().code(), StatusCode::kUnimplemented);
  EXPECT_NE(formed.status().message().find("LD_LIBRARY_PATH"), std::string::npos)
      << formed.status();
}

TEST_F(NcclCommunicatorTest, ItsScratchIsMemoryOfTheDevice) {
  const std::vector<Formed> formed = ConnectBoth(1, kNever);
  for (const Formed& rank : formed) {
    ASSERT_TRUE(rank.ok()) << rank.status();
    EXPECT_EQ((*rank)->DeviceBytes(), 1 << 16);
  }
}

TEST_F(NcclCommunicatorTest, ALibraryThatIsTooOldIsUnimplementedNamingBothVersions) {
  nccl_stand_in::SetVersion(21705);
  const Formed formed = Connect(0, 1, kNever);
  EXPECT_EQ(formed.status().code(), StatusCode::kUnimplemented);
  EXPECT_NE(formed.status().message().find("2.17.5"), std::string::npos) << formed.status();
  EXPECT_NE(formed.status().message().find("2.18.0"), std::string::npos) << formed.status();
}

TEST_F(NcclCommunicatorTest, ALibraryWithoutAFunctionIsUnimplementedNamingIt) {
  const Formed formed = Connect(0, 1, kNever, {}, "libdl.so.2");
  EXPECT_EQ(formed.status().code(), StatusCode::kUnimplemented);
  EXPECT_NE(formed.status().message().find("ncclGetVersion"), std::string::npos) << formed.status();
}

TEST_F(NcclCommunicatorTest, ARankThatNeverAsksForTheIdIsADeadlineExceeded) {
  EXPECT_EQ(Connect(0, 1, kSoon).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(NcclCommunicatorTest, AnIdThatNobodySetsIsADeadlineExceeded) {
  EXPECT_EQ(Connect(1, 1, kSoon).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(NcclCommunicatorTest, AnIdOfAnotherSizeIsUnavailable) {
  ASSERT_TRUE(store_.Set("nccl/test/1/id", "short").ok());
  EXPECT_EQ(Connect(1, 1, kNever).status().code(), StatusCode::kUnavailable);
}

TEST_F(NcclCommunicatorTest, AnInitThatHangsIsADeadlineExceededOnEveryRank) {
  nccl_stand_in::HangInit(1);
  for (const Formed& formed : ConnectBoth(1, kSoon)) {
    EXPECT_EQ(formed.status().code(), StatusCode::kDeadlineExceeded) << formed.status();
  }
}

TEST_F(NcclCommunicatorTest, AnInitThatHangsEndsWhenItIsStopped) {
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(Connect(0, 1, kNever, stop.get_token()).status().code(), StatusCode::kAborted);
}

// "Duplicate GPU" is such a one: another try would end alike.
TEST_F(NcclCommunicatorTest, AnInitThatTheConfigurationForbidsIsInvalid) {
  nccl_stand_in::FailInit(0, nccl::kInvalidUsage);
  const std::vector<Formed> formed = ConnectBoth(1, kSoon);
  EXPECT_EQ(formed[0].status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(formed[0].status().message().find("invalid usage: as the test asked"),
            std::string::npos)
      << formed[0].status();
}

TEST_F(NcclCommunicatorTest, APeerThatDoesNotComeIsADeadlineExceededAndAllLaterCallsFailAlike) {
  std::vector<Formed> ranks = ConnectBoth(1, kSoon);
  ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
  std::vector<float> data(10'000, 1.0f);
  EXPECT_EQ(Sum(**ranks[0], data).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Sum(**ranks[0], data).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ((*ranks[0])->Barrier().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(NcclCommunicatorTest, ADeviceThatHangsIsADeadlineExceeded) {
  std::vector<Formed> ranks = ConnectBoth(1, kSoon);
  ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
  nccl_stand_in::HangDevice(0);
  std::vector<float> data(10, 1.0f);
  EXPECT_EQ(Sum(**ranks[0], data).code(), StatusCode::kDeadlineExceeded);
}

// The stream is through with its work by then, with values that nobody may believe.
TEST_F(NcclCommunicatorTest, AnErrorOfThePeerIsUnavailable) {
  std::vector<Formed> ranks = ConnectBoth(1, kNever);
  ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
  nccl_stand_in::FailAsync(0, nccl::kRemoteError);
  std::vector<float> data(10, 1.0f);
  const Status status = Sum(**ranks[0], data);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("remote error"), std::string::npos) << status;
}

// Aborted at ever later moments: before the call, while it is enqueued, while it is waited for.
TEST_F(NcclCommunicatorTest, AbortEndsThePendingCallAndAllLaterOnes) {
  for (int delay = 0; delay < 12; ++delay) {
    std::vector<Formed> ranks = ConnectBoth(100 + delay, kNever);
    ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
    Communicator& communicator = **ranks[0];
    std::atomic<bool> called{false};
    Status pending;
    std::vector<float> data(100'000, 1.0f);
    std::jthread rank([&] {
      called = true;
      pending = Sum(communicator, data);
    });
    while (!called) std::this_thread::yield();
    for (int turn = 0; turn < (1 << delay); ++turn) std::this_thread::yield();
    communicator.Abort();
    rank.join();
    EXPECT_EQ(pending.code(), StatusCode::kAborted) << pending;
  }
}

// NCCL's abort waits for the recordings, which the calling thread has: it must come back all the
// same.
TEST_F(NcclCommunicatorTest, RecordingsHoldUpTheAbortAndNobodyElse) {
  for (const bool by_abort : {false, true}) {
    std::vector<Formed> ranks = ConnectBoth(by_abort ? 2 : 1, by_abort ? kNever : kSoon);
    ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
    nccl_stand_in::HoldInRecordings(0, 1);
    if (by_abort) (*ranks[0])->Abort();
    std::vector<float> data(10, 1.0f);
    const StatusCode expected = by_abort ? StatusCode::kAborted : StatusCode::kDeadlineExceeded;
    EXPECT_EQ(Sum(**ranks[0], data).code(), expected);
    EXPECT_EQ((*ranks[0])->Synchronize().code(), expected);
    nccl_stand_in::HoldInRecordings(0, 0);
  }
}

// As in Synchronize(), which waits: this only looks.
TEST_F(NcclCommunicatorTest, WhoLooksHowFarTheDeviceIsNoticesAPeerThatDoesNotCome) {
  for (const bool by_abort : {false, true}) {
    std::vector<Formed> ranks = ConnectBoth(by_abort ? 2 : 1, by_abort ? kNever : kSoon);
    ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
    std::vector<float> data(10, 1.0f);
    HostDeviceStream& device = devices_[0];
    ASSERT_EQ((*ranks[0])->AllReduceSum(TensorView(data.data(), DType::kF32, {10})), OkStatus());
    ASSERT_EQ(device.Mark(), OkStatus());
    if (by_abort) (*ranks[0])->Abort();
    const auto since = std::chrono::steady_clock::now();
    Result<bool> done = false;
    while (done.ok() && !*done) {
      done = (*ranks[0])->HasDone([&] { return device.Reached(); }, since);
    }
    const StatusCode expected = by_abort ? StatusCode::kAborted : StatusCode::kDeadlineExceeded;
    EXPECT_EQ(done.status().code(), expected);
    EXPECT_EQ((*ranks[0])->Synchronize().code(), expected);
    while (!*device.Reached()) std::this_thread::yield();
  }
}

// Every rank is aborted, then all form again under the next epoch, on the same devices.
TEST_F(NcclCommunicatorTest, AnAbortedGroupFormsAnew) {
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    std::vector<Formed> ranks = ConnectBoth(epoch, kNever);
    ASSERT_TRUE(ranks[0].ok() && ranks[1].ok());
    std::vector<float> data[2] = {std::vector<float>(20'000, 1.0f),
                                  std::vector<float>(20'000, 2.0f)};
    std::atomic<int> summed{0};
    std::vector<std::jthread> threads;
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        const Status status = Sum(**ranks[r], data[r]);
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_EQ(data[r], std::vector<float>(20'000, 3.0f));
        ++summed;
        if (r == 0) {  // A step that rank 1 never joins.
          EXPECT_EQ(Sum(**ranks[0], data[0]).code(), StatusCode::kAborted);
        }
      });
    }
    while (summed < 2) std::this_thread::yield();
    for (Formed& rank : ranks) (*rank)->Abort();
  }
}

}  // namespace
}  // namespace longhand::comm
