// The journal's thread: order, and what happens while the disk refuses.
#include "coordinator/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

// The disk may take a later entry where it has refused an earlier one, which must not be missing.
TEST(Journal, AStopWhileTheDiskRefusesLeavesAPrefix) {
  const TempDirectory directory;
  const std::filesystem::path file = FilePath(directory.path());
  JournalConfig config;
  config.retry_interval = std::chrono::hours(1);
  {
    Journal journal(config, OpenStore(directory.path()), NoMetrics());
    std::promise<void> on_disk;
    journal.Append(RequestEntry{"a", "request"}, [&] { on_disk.set_value(); });
    on_disk.get_future().wait();
    std::filesystem::rename(file, file.string() + ".away");
    journal.Append(EventEntry{"a", 1, "event"}, nullptr);
    while (journal.health().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    journal.Append(EventEntry{"a", 2, "event"}, nullptr);
    std::filesystem::rename(file.string() + ".away", file);
  }
  EXPECT_EQ(OpenStore(directory.path())->TakeUnfinished().size(), 1u);
}

TEST(Journal, RefusesWhatNoRowHolds) {
  const TempDirectory directory;
  Journal journal({}, OpenStore(directory.path()), NoMetrics());
  EXPECT_EQ(journal.CheckRoom(Store::kMaxPayloadBytes + 1),
            InvalidArgument("the request takes 996147201 bytes in the journal; at most 996147200 "
                            "can be kept of one"));
}

// Requests that end faster than one transaction forgets them.
TEST(Journal, ForgetsAllThatItMayHoweverMuchItIs) {
  const TempDirectory directory;
  constexpr int kNumRequests = 1000;
  JournalConfig config;
  config.look_interval = std::chrono::hours(24 * 365);  // The first one, and no other.
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

// The wall clock was ahead when the first request ended, and has been set back since.
TEST(Journal, AgesAreCountedFromTheLatestThatIsKept) {
  const TempDirectory directory;
  const auto ahead = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
                     std::chrono::hours(48);
  ASSERT_EQ(
      OpenStore(directory.path())
          ->Write(std::vector<Entry>{RequestEntry{"a", "request"}, EndEntry{"a", "OK"}}, ahead),
      OkStatus());
  std::promise<void> on_disk;
  {
    Journal journal({}, OpenStore(directory.path()), NoMetrics());
    journal.Append(RequestEntry{"b", "request"}, nullptr);
    journal.Append(EndEntry{"b", "OK"}, [&] { on_disk.set_value(); });
    on_disk.get_future().wait();
  }
  EXPECT_GE(OpenStore(directory.path())->LatestEnd(), ahead);
  Result<Database> database = Database::Open(FilePath(directory.path()), Database::Mode::kReadOnly);
  Result<Statement> rows =
      database->Prepare("SELECT request_id FROM requests ORDER BY ended_at, key");
  EXPECT_TRUE(*rows->Step());
  EXPECT_EQ(rows->Bytes(0), "a");
}

// The disk comes right while the journal waits.
TEST(Journal, OpensLateWhatCouldNotBeOpened) {
  const TempDirectory directory;
  ASSERT_EQ(OpenStore(directory.path())
                ->Write(std::vector<Entry>{RequestEntry{"a", "request"}}, WallTime()),
            OkStatus());
  JournalConfig config;
  config.look_interval = std::chrono::milliseconds(5);
  std::atomic<bool> is_right = false;
  std::promise<void> on_disk;
  Journal journal(
      config,
      [&]() -> Result<std::unique_ptr<Store>> {
        if (!is_right) return Unavailable("still");
        return Store::Open(directory.path(), Sync::kProcess);
      },
      Unavailable("not yet"), NoMetrics());
  EXPECT_FALSE(journal.health().ok());
  EXPECT_EQ(journal.CheckRoom(1).code(), StatusCode::kUnavailable);
  while (journal.health().message() != "still")
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(journal.TakeOpened().has_value());
  is_right = true;
  while (journal.health().message() == "still")
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  // Nobody may be told that it keeps requests before those that it has are known.
  EXPECT_EQ(journal.health().ToString(), "UNAVAILABLE: what it holds is being read");
  const std::optional<Journal::Opened> opened = journal.TakeOpened();
  ASSERT_TRUE(opened.has_value());
  ASSERT_EQ(opened->unfinished.size(), 1u);
  EXPECT_EQ(opened->unfinished[0].request_id, "a");
  EXPECT_TRUE(journal.health().ok()) << journal.health();
  journal.Append(EventEntry{"a", 1, "event"}, [&] { on_disk.set_value(); });
  on_disk.get_future().wait();
}

}  // namespace
}  // namespace longhand::journal
