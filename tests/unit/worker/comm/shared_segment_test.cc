#include "worker/comm/shared_segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "worker/comm/shared_memory.h"

namespace longhand::comm {
namespace {

constexpr SegmentShape kTwoRanks{.num_ranks = 2, .chunk_bytes = 4096};

SharedSegment::Options OptionsFor(const std::string& test, int64_t epoch = 3) {
  return {.shape = kTwoRanks,
          .group = "test-" + std::to_string(getpid()) + "-" + test,
          .epoch = epoch,
          .timeout = std::chrono::seconds(60)};
}

std::filesystem::path FileOf(const SharedSegment::Options& options) {
  return "/dev/shm/longhand-" + options.group + "-" + std::to_string(options.epoch);
}

// Lets rank 0 and 1 join as threads; returns rank 0's segment.
Result<std::shared_ptr<SharedSegment>> JoinBoth(const SharedSegment::Options& options) {
  std::jthread other([&] {
    const auto joined = SharedSegment::Join(options, 1, {});
    EXPECT_TRUE(joined.ok()) << joined.status();
  });
  return SharedSegment::Join(options, 0, {});
}

// Leaves a segment under the group's name as a process does that was killed while the group formed.
void LeaveStale(const SharedSegment::Options& options, off_t bytes) {
  const int fd = shm_open(("/" + FileOf(options).filename().string()).c_str(),
                          O_CREAT | O_EXCL | O_RDWR, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, bytes), 0);
  close(fd);
}

bool IsMapped(const std::filesystem::path& file) {
  std::ifstream maps("/proc/self/maps");
  std::stringstream text;
  text << maps.rdbuf();
  return text.str().find(file.string()) != std::string::npos;
}

TEST(SharedSegment, RanksSeeWhatOthersWroteAndOnlyThere) {
  const SharedSegment::Options options = OptionsFor("see");
  std::shared_ptr<SharedSegment> other;
  std::jthread rank_one([&] { other = SharedSegment::Join(options, 1, {}).value(); });
  const auto mine = SharedSegment::Join(options, 0, {}).value();
  rank_one.join();
  ASSERT_NE(mine->slot(0, 0), other->slot(0, 0));
  int value = 1;
  for (const int parity : {0, 1}) {
    for (std::byte* area : {mine->slot(0, parity), mine->slot(1, parity), mine->result(parity)}) {
      std::fill(area, area + kTwoRanks.chunk_bytes, std::byte(value++));
    }
  }
  value = 1;
  for (const int parity : {0, 1}) {
    for (std::byte* area :
         {other->slot(0, parity), other->slot(1, parity), other->result(parity)}) {
      EXPECT_EQ(std::count(area, area + kTwoRanks.chunk_bytes, std::byte(value)), 4096) << value;
      ++value;
    }
  }
}

TEST(SharedSegment, NoNameIsLeftOnceAllHaveJoined) {
  const SharedSegment::Options options = OptionsFor("unlinked");
  const auto segment = JoinBoth(options);
  ASSERT_TRUE(segment.ok()) << segment.status();
  EXPECT_FALSE(std::filesystem::exists(FileOf(options)));
}

TEST(SharedSegment, AMissingRankIsNamedAndNothingIsLeft) {
  SharedSegment::Options options = OptionsFor("missing");
  options.timeout = std::chrono::milliseconds(20);
  const auto segment = SharedSegment::Join(options, 0, {});
  ASSERT_FALSE(segment.ok());
  EXPECT_EQ(segment.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(segment.status().message().find("ranks 1 "), std::string::npos) << segment.status();
  EXPECT_FALSE(std::filesystem::exists(FileOf(options)));
}

TEST(SharedSegment, WithoutRankZeroAnyOtherTimesOut) {
  SharedSegment::Options options = OptionsFor("no-rank-zero");
  options.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(SharedSegment::Join(options, 1, {}).status().code(), StatusCode::kDeadlineExceeded);
}

TEST(SharedSegment, AStaleSegmentIsReplacedWhateverItsSize) {
  for (const off_t bytes : {off_t{0}, off_t{4096}, off_t{1} << 20}) {
    const SharedSegment::Options options = OptionsFor("stale");
    LeaveStale(options, bytes);
    const auto segment = JoinBoth(options);
    ASSERT_TRUE(segment.ok()) << segment.status();
    EXPECT_FALSE(std::filesystem::exists(FileOf(options)));
  }
}

// The worst stale segment looks right in every way: rank 0 of a dead run had made it, and rank 1
// has mapped it.
TEST(SharedSegment, ARankThatMappedAStaleSegmentMovesToTheNewOne) {
  SharedSegment::Options options = OptionsFor("moves");
  options.shape.num_ranks = 3;
  const pid_t dead_rank_zero = fork();
  if (dead_rank_zero == 0) {
    (void)SharedSegment::Join(options, 0, {});
    _exit(0);
  }
  std::shared_ptr<SharedSegment> one;
  std::jthread rank_one([&] { one = SharedSegment::Join(options, 1, {}).value(); });
  while (!IsMapped(FileOf(options))) std::this_thread::yield();
  kill(dead_rank_zero, SIGKILL);
  waitpid(dead_rank_zero, nullptr, 0);
  ASSERT_TRUE(std::filesystem::exists(FileOf(options)));

  std::jthread rank_two([&] { EXPECT_TRUE(SharedSegment::Join(options, 2, {}).ok()); });
  const auto zero = SharedSegment::Join(options, 0, {});
  ASSERT_TRUE(zero.ok()) << zero.status();
  rank_one.join();
  *zero.value()->slot(0, 0) = std::byte{42};
  EXPECT_EQ(*one->slot(0, 0), std::byte{42});
}

TEST(SharedSegment, ANewEpochRemovesWhatAnOlderOneLeft) {
  const SharedSegment::Options older = OptionsFor("epochs", 2);
  const SharedSegment::Options other_group = OptionsFor("epochs-of-another", 2);
  LeaveStale(older, 4096);
  LeaveStale(other_group, 4096);
  ASSERT_TRUE(JoinBoth(OptionsFor("epochs", 3)).ok());
  EXPECT_FALSE(std::filesystem::exists(FileOf(older)));
  EXPECT_TRUE(std::filesystem::exists(FileOf(other_group)));
  std::filesystem::remove(FileOf(other_group));
}

TEST(SharedSegment, StopEndsTheFormingOfAGroup) {
  for (const int rank : {0, 1}) {
    std::stop_source stop;
    Status status;
    std::jthread joining(
        [&] { status = SharedSegment::Join(OptionsFor("stop"), rank, stop.get_token()).status(); });
    stop.request_stop();
    joining.join();
    EXPECT_EQ(status.code(), StatusCode::kAborted) << status;
  }
}

TEST(SharedSegment, AGroupNameThatIsNoFileNameIsRefused) {
  for (const std::string group : {"", "a/b", "a b", "é"}) {
    SharedSegment::Options options = OptionsFor("name");
    options.group = group;
    EXPECT_EQ(SharedSegment::Join(options, 0, {}).status().code(), StatusCode::kInvalidArgument);
  }
}

// Real processes: sums agree, and a killed one leaves no name behind.
TEST(SharedSegment, ProcessesSumTogetherAndAKilledOneLeavesNothing) {
  const SharedSegment::Options options = OptionsFor("processes");
  const auto sum_until_alone = [&](int rank) {
    auto segment = SharedSegment::Join(options, rank, {});
    if (!segment.ok()) return 2;
    SharedMemoryCommunicator communicator(std::move(segment).value(), rank,
                                          {.timeout = std::chrono::milliseconds(200)});
    for (int round = 0;; ++round) {
      std::vector<float> data(20'000, static_cast<float>(rank + 1));
      const Status status =
          communicator.AllReduceSum(TensorView(data.data(), DType::kF32, {20'000}));
      if (!status.ok()) return status.code() == StatusCode::kDeadlineExceeded && round > 0 ? 0 : 3;
      if (data != std::vector<float>(20'000, 3.0f)) return 4;
    }
  };
  const pid_t survivor = fork();
  if (survivor == 0) _exit(sum_until_alone(0));
  const pid_t victim = fork();
  if (victim == 0) {
    auto segment = SharedSegment::Join(options, 1, {});
    SharedMemoryCommunicator communicator(std::move(segment).value(), 1, {});
    for (int round = 0; round < 100; ++round) {
      std::vector<float> data(20'000, 2.0f);
      (void)communicator.AllReduceSum(TensorView(data.data(), DType::kF32, {20'000}));
    }
    kill(getpid(), SIGKILL);
  }
  waitpid(victim, nullptr, 0);
  int status = 0;
  waitpid(survivor, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(std::filesystem::exists(FileOf(options)));
}

}  // namespace
}  // namespace longhand::comm
