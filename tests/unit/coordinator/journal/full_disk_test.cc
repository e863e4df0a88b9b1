// A disk that is full: what is over makes room for what is not, and nothing that was accepted is
// lost. On small file systems of their own, which only root can mount.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "coordinator/journal/journal.h"
#include "coordinator/journal/reader.h"
#include "coordinator/journal/store.h"
#include "tests/testing/temp_directory.h"

namespace longhand::journal {
namespace {

using ::longhand::testing::TempDirectory;
using ::testing::HasSubstr;

constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

// Adds up by name.
class CountingMetrics final : public Metrics {
 public:
  class Cell final : public Counter, public Gauge, public Histogram {
   public:
    void Increment(double by) override { value = value + by; }
    void Set(double to) override { value = to; }
    void Observe(double) override {}
    std::atomic<double> value = 0;
  };
  Counter& GetCounter(std::string_view name, const MetricLabels&) override { return Of(name); }
  Gauge& GetGauge(std::string_view name, const MetricLabels&) override { return Of(name); }
  Histogram& GetHistogram(std::string_view name, const MetricLabels&) override { return Of(name); }
  void SetInfo(std::string_view, const MetricLabels&, double) override {}
  void SetLabels(const MetricLabels&) override {}
  Cell& Of(std::string_view name) { return cells_[std::string(name)]; }

 private:
  std::map<std::string, Cell> cells_;
};

class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=4m") != 0)
      GTEST_SKIP() << "a tmpfs cannot be mounted here";
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount(directory_.path().c_str());
  }
  Status Remount(unsigned long flags, const char* options) const {
    return mount("tmpfs", directory_.path().c_str(), "tmpfs", MS_REMOUNT | flags, options) == 0
               ? OkStatus()
               : Internal("cannot remount");
  }
  // To the last byte.
  void Fill() const {
    const int fd = open(filler().c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const std::string bytes(4096, 'x');
    while (write(fd, bytes.data(), bytes.size()) > 0) {
    }
    EXPECT_EQ(errno, ENOSPC);
    close(fd);
  }
  void Empty() const { std::filesystem::remove(filler()); }
  std::filesystem::path filler() const { return directory_ / "filler"; }
  std::filesystem::path journal() const { return directory_ / "journal"; }

  Result<std::unique_ptr<Store>> Open() const { return Store::Open(journal(), Sync::kProcess); }
  static std::vector<Entry> Ended(const std::string& id, size_t num_bytes) {
    return {RequestEntry{id, std::string(num_bytes, 'r')}, EventEntry{id, 1, "event"},
            EndEntry{id, "OK"}};
  }
  bool IsKept(const std::string& id) const {
    const auto request = ReadRequest(journal(), id);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() && request->has_value();
  }

  const TempDirectory directory_;
  bool mounted_ = false;
};

JournalConfig Quick() {
  return {.retry_interval = std::chrono::milliseconds(5),
          .look_interval = std::chrono::milliseconds(5),
          .hangs_after = std::chrono::hours(1)};
}

void WaitUntil(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// Six times what the disk holds goes through it, and one request that is not over stays.
TEST_F(FullDisk, WhatIsOverMakesRoomForWhatComes) {
  Result<std::unique_ptr<Store>> store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  ASSERT_EQ((*store)->Write(std::vector<Entry>{RequestEntry{"runs", "request"}}, kNow), OkStatus());
  for (int64_t i = 1; i <= 240; ++i) {
    ASSERT_EQ((*store)->Write(Ended(std::to_string(i), 100'000), kNow + std::chrono::seconds(i)),
              OkStatus())
        << i;
    ASSERT_EQ(
        (*store)->Write(std::vector<Entry>{EventEntry{"runs", i, std::string(1000, 'e')}}, kNow),
        OkStatus())
        << i;
  }
  EXPECT_GT((*store)->num_forgotten_for_room(), 0);
  EXPECT_TRUE(IsKept("240"));
  EXPECT_TRUE(IsKept("235"));
  EXPECT_FALSE(IsKept("1"));
  store->reset();
  store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->num_lost_records(), 0);
  const std::vector<StoredRequest> unfinished = (*store)->TakeUnfinished();
  ASSERT_EQ(unfinished.size(), 1u);
  EXPECT_EQ(unfinished[0].events.size(), 240u);
}

// Others' files take the last byte while there are records that are over.
TEST_F(FullDisk, ItForgetsWithNothingLeftButItsReserve) {
  Result<std::unique_ptr<Store>> store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ((*store)->Write(Ended(std::to_string(i), 100'000), kNow), OkStatus());
  Fill();
  for (int i = 10; i < 40; ++i)
    ASSERT_EQ((*store)->Write(Ended(std::to_string(i), 100'000), kNow), OkStatus()) << i;
  EXPECT_TRUE(IsKept("39"));
}

TEST_F(FullDisk, LetsNothingOutUntilSpaceReturns) {
  constexpr int64_t kNumEvents = 1000;
  CountingMetrics metrics;
  {
    Journal journal(Quick(), std::move(Open()).value(), metrics);
    std::promise<void> on_disk;
    journal.Append(RequestEntry{"a", "request"}, [&] { on_disk.set_value(); });
    on_disk.get_future().wait();
    Fill();
    std::atomic<int> num_let_out = 0;
    for (int64_t seq = 1; seq <= kNumEvents; ++seq)
      journal.Append(EventEntry{"a", seq, std::string(4000, 'y')}, [&] { ++num_let_out; });
    WaitUntil([&] {
      return !journal.health().ok() && metrics.Of("longhand_journal_failures_total").value > 3;
    });
    EXPECT_EQ(journal.health().code(), StatusCode::kResourceExhausted);
    EXPECT_THAT(
        journal.health().message(),
        ::testing::MatchesRegex("the disk of .*/journal is full: [0-9]+ bytes are free, and "
                                "the journal needs [0-9]+"));
    EXPECT_EQ(metrics.Of("longhand_journal_healthy").value, 0);
    EXPECT_LT(num_let_out, kNumEvents);
    EXPECT_GT(journal.backlog(), 0u);
    Empty();
    ASSERT_EQ(Remount(0, "size=32m"), OkStatus());
    WaitUntil([&] { return journal.backlog() == 0 && journal.health().ok(); });
    EXPECT_EQ(metrics.Of("longhand_journal_healthy").value, 1);
  }
  EXPECT_EQ((*Open())->TakeUnfinished()[0].events.size(), size_t{kNumEvents});
}

// Before anybody has to find out.
TEST_F(FullDisk, IsNoticedWhileNothingIsWritten) {
  Journal journal(Quick(), std::move(Open()).value(), NoMetrics());
  WaitUntil([&] { return std::filesystem::exists(this->journal() / "reserve"); });
  EXPECT_TRUE(journal.health().ok()) << journal.health();
  Fill();
  WaitUntil([&] { return !journal.health().ok(); });
  EXPECT_THAT(journal.health().message(), HasSubstr("is full"));
  Empty();
  WaitUntil([&] { return journal.health().ok(); });
}

// Others would wait behind it.
TEST_F(FullDisk, ARequestThatTheDiskCannotHoldIsRefusedAlone) {
  Journal journal(Quick(), std::move(Open()).value(), NoMetrics());
  EXPECT_EQ(journal.CheckRoom(300'000), OkStatus());
  const Status refused = journal.CheckRoom(3'000'000);
  EXPECT_THAT(refused.message(), HasSubstr("bytes are free, and the journal needs 6262144"));
  EXPECT_TRUE(journal.health().ok()) << journal.health();
}

TEST_F(FullDisk, AStoreIsOpenedWithItsReserveAlone) {
  {
    const Result<std::unique_ptr<Store>> store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_EQ((*store)->Write(std::vector<Entry>{RequestEntry{"runs", "request"},
                                                 EventEntry{"runs", 1, "event"}},
                              kNow),
              OkStatus());
    ASSERT_EQ((*store)->Write(Ended("over", 100'000), kNow), OkStatus());
    Fill();
  }
  // What closing gave back.
  Fill();
  const Result<std::unique_ptr<Store>> store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->TakeUnfinished().size(), 1u);
  const Status written = (*store)->Write(std::vector<Entry>{EventEntry{"runs", 2, "event"}}, kNow);
  EXPECT_TRUE(written.ok() || written.code() == StatusCode::kResourceExhausted) << written;
}

TEST_F(FullDisk, AStoreThatHasNoRoomAtAllSaysSoUntilThereIs) {
  Fill();
  const Result<std::unique_ptr<Store>> store = Open();
  EXPECT_EQ(store.status().code(), StatusCode::kResourceExhausted) << store.status();
  Empty();
  EXPECT_TRUE(Open().ok());
}

TEST_F(FullDisk, AReadOnlyDiskMayComeRight) {
  ASSERT_TRUE(Open().ok());
  ASSERT_EQ(Remount(MS_RDONLY, ""), OkStatus());
  const Result<std::unique_ptr<Store>> store = Open();
  EXPECT_EQ(store.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(store.status().message(), HasSubstr("lock cannot be opened: Read-only file system"));
  ASSERT_EQ(Remount(0, ""), OkStatus());
  EXPECT_TRUE(Open().ok());
}

// Only a person mends that.
TEST(Store, WhatIsNotOursToWriteDoesNotComeRight) {
  if (geteuid() != 0) GTEST_SKIP() << "files cannot be given to others here";
  const TempDirectory directory;
  ASSERT_TRUE(Store::Open(directory.path(), Sync::kProcess).ok());
  ASSERT_EQ(chmod(directory.path().c_str(), 0777), 0);
  const auto open_as_nobody = [&] {
    const pid_t child = fork();
    if (child == 0) {
      if (setegid(65534) != 0 || seteuid(65534) != 0) _exit(100);
      _exit(static_cast<int>(Store::Open(directory.path(), Sync::kProcess).status().code()));
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return static_cast<StatusCode>(WEXITSTATUS(status));
  };
  EXPECT_EQ(open_as_nobody(), StatusCode::kFailedPrecondition);  // the lock
  ASSERT_EQ(chmod((directory / "lock").c_str(), 0666), 0);
  EXPECT_EQ(open_as_nobody(), StatusCode::kFailedPrecondition);  // the database
}

}  // namespace
}  // namespace longhand::journal
