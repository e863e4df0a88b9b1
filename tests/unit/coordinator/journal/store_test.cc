// The file of the journal: what survives, and what is found again after damage of every kind.
#include "coordinator/journal/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "coordinator/journal/reader.h"
#include "tests/testing/temp_directory.h"

namespace longhand::journal {
namespace {

using ::longhand::testing::TempDirectory;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

std::unique_ptr<Store> OpenStore(const std::filesystem::path& directory) {
  Result<std::unique_ptr<Store>> store = Store::Open(directory, Sync::kProcess);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? std::move(*store) : nullptr;
}

StoredRequest MakeRequest(const std::string& id, int64_t num_events) {
  StoredRequest request{id, "the request " + id, {}, {}};
  for (int64_t seq = 1; seq <= num_events; ++seq)
    request.events.push_back({seq, id + " token " + std::to_string(seq)});
  return request;
}

std::vector<Entry> EntriesOf(const StoredRequest& request) {
  std::vector<Entry> entries = {RequestEntry{request.request_id, request.payload}};
  for (const StoredEvent& event : request.events)
    entries.emplace_back(EventEntry{request.request_id, event.seq, event.payload});
  return entries;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(Store, ANewOneIsEmpty) {
  const TempDirectory directory;
  const auto store = OpenStore(directory / "new/deep");
  EXPECT_THAT(store->TakeUnfinished(), IsEmpty());
  EXPECT_EQ(store->num_lost_records(), 0);
}

TEST(Store, WhatHasNotEndedIsFoundAgainInItsOrderAndGoesOn) {
  const TempDirectory directory;
  StoredRequest first = MakeRequest("first", 3);
  const StoredRequest second = MakeRequest("second", 0);
  {
    const auto store = OpenStore(directory.path());
    ASSERT_EQ(store->Write(EntriesOf(first), kNow), OkStatus());
    ASSERT_EQ(store->Write(EntriesOf(MakeRequest("over", 2)), kNow), OkStatus());
    ASSERT_EQ(store->Write(EntriesOf(second), kNow), OkStatus());
    ASSERT_EQ(store->Write(std::vector<Entry>{EndEntry{"over", "OK"}}, kNow), OkStatus());
  }
  {
    const auto store = OpenStore(directory.path());
    EXPECT_EQ(store->TakeUnfinished(), (std::vector{first, second}));
    ASSERT_EQ(store->Write(std::vector<Entry>{EventEntry{"first", 4, "more"}}, kNow), OkStatus());
  }
  first.events.push_back({4, "more"});
  EXPECT_EQ(OpenStore(directory.path())->TakeUnfinished(), (std::vector{first, second}));
}

// An event after them makes them void; who has ended, or never was, has none.
TEST(Store, AttemptsCountSinceTheLatestEvent) {
  const TempDirectory directory;
  const auto attempts = [&] {
    return OpenStore(directory.path())->TakeUnfinished().at(0).attempts;
  };
  const auto write = [&](const std::vector<Entry>& entries) {
    ASSERT_EQ(OpenStore(directory.path())->Write(entries, kNow), OkStatus());
  };
  write(EntriesOf(MakeRequest("a", 2)));
  EXPECT_EQ(attempts(), 0);
  write({AttemptEntry{"a", 1}, AttemptEntry{"unknown", 1}});
  EXPECT_EQ(attempts(), 1);
  write({AttemptEntry{"a", 2}});
  EXPECT_EQ(attempts(), 2);
  write({EventEntry{"a", 3, "a token 3"}});
  EXPECT_EQ(attempts(), 0);
  write({AttemptEntry{"a", 1}});
  write({AttemptEntry{"a", 0}});
  EXPECT_EQ(attempts(), 0);
  write({EndEntry{"a", "OK"}, AttemptEntry{"a", 7}});
  EXPECT_THAT(OpenStore(directory.path())->TakeUnfinished(), IsEmpty());
}

TEST(Store, AnIdThatIsOverMayBeginAnew) {
  const TempDirectory directory;
  const StoredRequest again{"a", "another", {{1, "new"}}, {}};
  {
    const auto store = OpenStore(directory.path());
    ASSERT_EQ(store->Write(EntriesOf(MakeRequest("a", 5)), kNow), OkStatus());
    ASSERT_EQ(store->Write(std::vector<Entry>{EndEntry{"a", "OK"}}, kNow), OkStatus());
    ASSERT_EQ(store->Write(EntriesOf(again), kNow), OkStatus());
  }
  EXPECT_EQ(OpenStore(directory.path())->TakeUnfinished(), std::vector{again});
}

TEST(Store, OldOnesThatAreOverAreForgotten) {
  const TempDirectory directory;
  const auto store = OpenStore(directory.path());
  const std::string large(4096, 'x');
  for (const char* id : {"old", "young", "running"}) {
    ASSERT_EQ(store->Write(std::vector<Entry>{RequestEntry{id, large}}, kNow), OkStatus());
  }
  ASSERT_EQ(store->Write(std::vector<Entry>{EndEntry{"old", ""}}, kNow), OkStatus());
  const WallTime later = kNow + std::chrono::hours(2);
  ASSERT_EQ(store->Write(std::vector<Entry>{EndEntry{"young", ""}}, later), OkStatus());
  const auto count = [&] {
    Result<Database> database =
        Database::Open((directory / "journal.db").string(), Database::Mode::kReadOnly);
    Result<Statement> rows = database->Prepare("SELECT count(*) FROM requests");
    EXPECT_TRUE(*rows->Step());
    return rows->Int(0);
  };
  ASSERT_EQ(store->Prune({.max_age = std::chrono::hours(1)}, later).status(), OkStatus());
  EXPECT_EQ(count(), 2);
  // Whatever its age, when the file is too large; what runs stays.
  ASSERT_EQ(store->Prune({.max_bytes = 1}, later).status(), OkStatus());
  EXPECT_EQ(count(), 1);
}

// Enough for batches to become chunks again and again, beside a model that is a vector.
TEST(Store, WhateverIsWrittenInWhateverOrderIsFoundAgain) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  const TempDirectory directory;
  auto store = OpenStore(directory.path());
  std::vector<StoredRequest> model;  // in the order of their beginnings
  const auto unfinished = [&] {
    std::vector<StoredRequest> requests;
    std::copy_if(model.begin(), model.end(), std::back_inserter(requests),
                 [](const auto& request) { return !request.end.has_value(); });
    return requests;
  };
  for (int turn = 0; turn < 300; ++turn) {
    std::vector<Entry> entries;
    for (int n = draw(12); n >= 0; --n) {
      const std::string id(1, static_cast<char>('a' + draw(6)));
      const auto found = std::find_if(model.begin(), model.end(),
                                      [&](const auto& each) { return each.request_id == id; });
      if (found == model.end() || found->end.has_value()) {
        if (found != model.end()) model.erase(found);
        model.push_back(MakeRequest(id, 0));
        entries.emplace_back(RequestEntry{id, model.back().payload});
      } else if (draw(30) == 0) {
        found->end = "over";
        entries.emplace_back(EndEntry{id, "over"});
      } else {
        const auto seq = static_cast<int64_t>(found->events.size()) + 1;
        found->events.push_back({seq, std::string(draw(2000), static_cast<char>(random()))});
        entries.emplace_back(EventEntry{id, seq, found->events.back().payload});
      }
    }
    ASSERT_EQ(store->Write(entries, kNow), OkStatus());
    if (draw(10) == 0) {
      for (const StoredRequest& request : model)
        ASSERT_EQ(*ReadRequest(directory.path(), request.request_id), request);
    }
    if (draw(20) == 0) {
      store.reset();
      store = OpenStore(directory.path());
      ASSERT_EQ(store->num_lost_records(), 0);
      ASSERT_EQ(store->TakeUnfinished(), unfinished());
    }
  }
}

TEST(Store, AFileOfTheFirstVersionIsRefused) {
  const TempDirectory directory;
  {
    Result<Database> old = Database::Open(FilePath(directory.path()), Database::Mode::kReadWrite);
    ASSERT_EQ(old->Execute("CREATE TABLE events (request, seq, payload, checksum)"), OkStatus());
  }
  const auto store = Store::Open(directory.path(), Sync::kProcess);
  EXPECT_EQ(store.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().message(), HasSubstr("written by an older version"));
}

// A bit flipped anywhere in the file: each request comes back as a prefix of what it was, or not at
// all.
TEST(Store, AFlippedByteLosesAtMostWhatComesAfterIt) {
  const TempDirectory directory;
  std::vector<StoredRequest> requests = {MakeRequest("first", 30), MakeRequest("second", 20)};
  const std::filesystem::path file = directory / "journal.db";
  {
    const auto store = OpenStore(directory.path());
    for (const StoredRequest& request : requests)
      ASSERT_EQ(store->Write(EntriesOf(request), kNow), OkStatus());
  }
  {
    // What was written before is in chunks now, and this in a batch.
    const auto store = OpenStore(directory.path());
    for (StoredRequest& request : requests) {
      const auto seq = static_cast<int64_t>(request.events.size()) + 1;
      ASSERT_EQ(store->Write(std::vector<Entry>{EventEntry{request.request_id, seq, "late"}}, kNow),
                OkStatus());
      request.events.push_back({seq, "late"});
    }
  }
  const std::string intact = ReadFile(file);
  ASSERT_GT(intact.size(), 4096u);
  int64_t num_damaged = 0;
  for (size_t at = 0; at < intact.size(); at += 47) {
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string flipped = intact;
    flipped[at] ^= static_cast<char>(1 << (at % 8));
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
    WriteFile(file, flipped);
    const auto store = OpenStore(directory.path());
    ASSERT_NE(store, nullptr);
    const std::vector<StoredRequest> found = store->TakeUnfinished();
    num_damaged += found != requests;
    for (const StoredRequest& request : found) {
      const auto original = std::find_if(requests.begin(), requests.end(), [&](const auto& each) {
        return each.request_id == request.request_id;
      });
      ASSERT_NE(original, requests.end()) << request.request_id;
      EXPECT_EQ(request.payload, original->payload);
      ASSERT_LE(request.events.size(), original->events.size());
      EXPECT_TRUE(
          std::equal(request.events.begin(), request.events.end(), original->events.begin()));
    }
    // It can be written to.
    EXPECT_EQ(store->Write(std::vector<Entry>{RequestEntry{"next", "request"}}, kNow), OkStatus());
    if (HasFailure()) return;
  }
  EXPECT_GT(num_damaged, 20);
}

// A log that was cut off at any byte gives a prefix of its transactions.
TEST(Store, ATornLogGivesWhatWasCommittedBefore) {
  const TempDirectory directory, torn;
  StoredRequest request = MakeRequest("a", 0);
  const auto store = OpenStore(directory.path());
  ASSERT_EQ(store->Write(EntriesOf(request), kNow), OkStatus());
  for (int64_t seq = 1; seq <= 12; ++seq) {
    request.events.push_back({seq, std::to_string(seq)});
    ASSERT_EQ(store->Write(std::vector<Entry>{EventEntry{"a", seq, std::to_string(seq)}}, kNow),
              OkStatus());
  }
  const std::string log = ReadFile(directory / "journal.db-wal");
  const std::string file = ReadFile(directory / "journal.db");
  ASSERT_GT(log.size(), 10'000u);
  size_t most = 0;
  for (size_t size = 0; size <= log.size(); size += 499) {
    std::filesystem::remove(torn / "journal.db-shm");
    WriteFile(torn / "journal.db", file);
    WriteFile(torn / "journal.db-wal", log.substr(0, size));
    const std::vector<StoredRequest> found = OpenStore(torn.path())->TakeUnfinished();
    ASSERT_LE(found.size(), 1u);
    if (found.empty()) continue;
    const std::vector<StoredEvent>& events = found[0].events;
    ASSERT_LE(events.size(), request.events.size());
    EXPECT_TRUE(std::equal(events.begin(), events.end(), request.events.begin()));
    EXPECT_GE(events.size(), most);
    most = events.size();
  }
  EXPECT_GE(most, 11u);
}

TEST(Store, AFileThatIsNoDatabaseIsPutAside) {
  const TempDirectory directory;
  directory.Write("journal.db", std::string(10'000, '?'));
  const auto store = OpenStore(directory.path());
  EXPECT_THAT(store->TakeUnfinished(), IsEmpty());
  EXPECT_EQ(store->num_lost_records(), 1);
  EXPECT_TRUE(std::filesystem::exists(directory / "journal.db.damaged"));
}

// What is saved of a damaged file has all of it before the file goes: the death of the process
// between any two steps loses nothing.
TEST(Store, WhatWasSavedOfADamagedFileIsThereAfterADeathInTheMiddle) {
  const TempDirectory directory;
  const std::vector<StoredRequest> requests = {MakeRequest("first", 30), MakeRequest("second", 20)};
  const std::filesystem::path file = directory / "journal.db";
  {
    const auto store = OpenStore(directory.path());
    for (const StoredRequest& request : requests)
      ASSERT_EQ(store->Write(EntriesOf(request), kNow), OkStatus());
  }
  std::string damaged = ReadFile(file);
  std::fill(damaged.end() - 4096, damaged.end(), '?');  // the table of attempts, which is empty
  WriteFile(file, damaged);
  WriteFile(directory / "journal.db.saved", "half");  // It died while it wrote this.
  EXPECT_EQ(OpenStore(directory.path())->TakeUnfinished(), requests);
  const std::string aside = ReadFile(directory / "journal.db.damaged");
  ASSERT_TRUE(aside.ends_with("???"));
  // It died when the damaged file was put aside, but not yet its log.
  std::filesystem::rename(file, directory / "journal.db.saved");
  WriteFile(directory / "journal.db-wal", "of the damaged file");
  EXPECT_EQ(OpenStore(directory.path())->TakeUnfinished(), requests);
  EXPECT_TRUE(ReadFile(directory / "journal.db.damaged") == aside);
  EXPECT_FALSE(std::filesystem::exists(directory / "journal.db.saved"));
}

TEST(Store, ADirectoryThatCannotBeMadeIsSaid) {
  const TempDirectory directory;
  directory.Write("file", "");
  const auto store = Store::Open(directory / "file/journal", Sync::kDisk);
  EXPECT_EQ(store.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().message(), HasSubstr("file/journal cannot be made: Not a directory"));
}

}  // namespace
}  // namespace longhand::journal
