// The journal's thread: order, and what happens while the disk refuses.
#include "coordinator/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <future>

#include "coordinator/journal/database.h"
#include "tests/testing/temp_directory.h"

namespace longhand::journal {
namespace {

using ::longhand::testing::TempDirectory;

std::unique_ptr<Store> OpenStore(const std::filesystem::path& directory) {
  Result<std::unique_ptr<Store>> store = Store::Open(directory, Sync::kProcess);
  EXPECT_TRUE(store.ok()) << store.status();
  return std::move(*store);
}

TEST(Journal, LetsOutInOrderWhatIsOnDisk) {
  const TempDirectory directory;
  constexpr int64_t kNumEvents = 2000;
  std::vector<int64_t> let_out;
  {
    Journal journal({}, OpenStore(directory.path()), NoMetrics());
    journal.Append(RequestEntry{"a", "request"}, nullptr);
    for (int64_t seq = 1; seq <= kNumEvents; ++seq)
      journal.Append(EventEntry{"a", seq, "event"}, [&, seq] { let_out.push_back(seq); });
  }
  ASSERT_EQ(static_cast<int64_t>(let_out.size()), kNumEvents);
  for (int64_t seq = 1; seq <= kNumEvents; ++seq) EXPECT_EQ(let_out[seq - 1], seq);
  EXPECT_EQ(static_cast<int64_t>(OpenStore(directory.path())->TakeUnfinished()[0].events.size()),
            kNumEvents);
}

// Another connection that writes keeps ours waiting, as a disk that hangs does.
TEST(Journal, ADiskThatDoesNotAnswerIsNotHealthyUntilItDoes) {
  const TempDirectory directory;
  JournalConfig config;
  config.hangs_after = std::chrono::milliseconds(5);
  std::promise<void> on_disk;
  Journal journal(config, OpenStore(directory.path()), NoMetrics());
  EXPECT_TRUE(journal.health().ok()) << journal.health();
  Result<Database> other = Database::Open(FilePath(directory.path()), Database::Mode::kReadWrite);
  ASSERT_EQ(other->Execute("BEGIN IMMEDIATE"), OkStatus());
  journal.Append(RequestEntry{"a", "request"}, [&] { on_disk.set_value(); });
  while (journal.health().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(journal.health().code(), StatusCode::kUnavailable);
  EXPECT_THAT(journal.health().message(), ::testing::HasSubstr("the disk has not answered for"));
  EXPECT_EQ(journal.backlog(), 1u);
  ASSERT_EQ(other->Execute("ROLLBACK"), OkStatus());
  on_disk.get_future().wait();
  while (!journal.health().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST(Journal, LetsNothingOutOnceItsFileIsGone) {
  const TempDirectory directory;
  JournalConfig config;
  config.retry_interval = std::chrono::milliseconds(5);
  std::atomic<int> num_let_out = 0;
  {
    Journal journal(config, OpenStore(directory.path() / "journal"), NoMetrics());
    std::filesystem::remove_all(directory.path() / "journal");
    journal.Append(RequestEntry{"a", "request"}, [&] { ++num_let_out; });
    while (journal.health().ok() && num_let_out == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(journal.health().code(), StatusCode::kUnavailable);
    EXPECT_THAT(journal.health().message(),
                ::testing::HasSubstr("journal/journal.db was deleted or moved while it was open"));
  }
  EXPECT_EQ(num_let_out, 0);
}

// Requests that end faster than one transaction forgets them.
TEST(Journal, ForgetsAllThatItMayHoweverMuchItIs) {
  const TempDirectory directory;
  constexpr int kNumRequests = 1000;
  JournalConfig config;
  config.prune_interval = std::chrono::hours(24 * 365);  // The first one, and no other.
  config.retention.max_bytes = 0;
  std::unique_ptr<Store> store = OpenStore(directory.path());
  std::vector<Entry> entries;
  for (int i = 0; i < kNumRequests; ++i) {
    entries.emplace_back(RequestEntry{std::to_string(i), "request"});
    entries.emplace_back(EndEntry{std::to_string(i), "OK"});
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  ASSERT_EQ(store->Write(entries, now), OkStatus());
  Journal journal(config, std::move(store), NoMetrics());
  const auto num_kept = [&] {
    Result<Database> database =
        Database::Open(FilePath(directory.path()), Database::Mode::kReadOnly);
    Result<Statement> rows = database->Prepare("SELECT count(*) FROM requests");
    EXPECT_TRUE(*rows->Step());
    return rows->Int(0);
  };
  while (num_kept() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// A small file system of its own; needs root.
class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=512k") != 0)
      GTEST_SKIP() << "a tmpfs cannot be mounted here";
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount(directory_.path().c_str());
  }
  const TempDirectory directory_;
  bool mounted_ = false;
};

TEST_F(FullDisk, LetsNothingOutUntilSpaceReturns) {
  JournalConfig config;
  config.retry_interval = std::chrono::milliseconds(5);
  config.hangs_after = std::chrono::hours(1);
  std::promise<void> on_disk;
  {
    Journal journal(config, OpenStore(directory_.path()), NoMetrics());
    journal.Append(RequestEntry{"a", "request"}, [&] { on_disk.set_value(); });
    on_disk.get_future().wait();
    const std::filesystem::path filler = directory_.Write("filler", std::string(300'000, 'x'));
    std::atomic<int> num_let_out = 0;
    for (int64_t seq = 1; seq <= 100; ++seq)
      journal.Append(EventEntry{"a", seq, std::string(4000, 'y')}, [&] { ++num_let_out; });
    while (journal.health().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(journal.health().code(), StatusCode::kResourceExhausted) << journal.health();
    EXPECT_LT(num_let_out, 100);
    EXPECT_GT(journal.backlog(), 0u);
    std::filesystem::remove(filler);
    ASSERT_EQ(mount("tmpfs", directory_.path().c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
    while (journal.backlog() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(journal.health().ok()) << journal.health();
  }
  EXPECT_EQ(OpenStore(directory_.path())->TakeUnfinished()[0].events.size(), 100u);
}

}  // namespace
}  // namespace longhand::journal
