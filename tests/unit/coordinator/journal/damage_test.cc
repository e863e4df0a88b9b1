// Damage at every byte of the journal's log: a bit flipped or the rest torn off. What is found is
// the longest valid prefix, and never anything that was not written.
//
// The quick run takes some bytes of a small log; scripts/journal_damage all of a megabyte, by
// $LONGHAND_DAMAGE_BYTES (of the log), $LONGHAND_DAMAGE_FIRST and $LONGHAND_DAMAGE_STEP.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "coordinator/journal/store.h"
#include "tests/testing/temp_directory.h"

namespace longhand::journal {
namespace {

using ::longhand::testing::TempDirectory;

size_t Setting(const char* name, size_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoul(value, nullptr, 10);
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A directory with the log of a process that died: streams that grew side by side, an event of each
// in a transaction.
class Log {
 public:
  explicit Log(size_t min_bytes) : store_(Store::Open(directory_.path(), Sync::kProcess).value()) {
    std::vector<Entry> entries;
    for (const char* id : {"a", "b", "c"}) {
      written_.push_back({.request_id = id, .payload = std::string("request ") + id});
      entries.emplace_back(RequestEntry{id, written_.back().payload});
    }
    Write(entries);
    while (bytes().size() < min_bytes) {
      entries.clear();
      for (StoredRequest& request : written_) {
        const auto seq = static_cast<int64_t>(request.events.size()) + 1;
        request.events.push_back({seq, request.request_id + " token " + std::to_string(seq)});
        entries.emplace_back(EventEntry{request.request_id, seq, request.events.back().payload});
      }
      Write(entries);
    }
  }

  std::string bytes() const { return ReadFile(directory_ / "journal.db-wal"); }
  std::string file() const { return ReadFile(directory_ / "journal.db"); }
  const std::vector<StoredRequest>& written() const { return written_; }

 private:
  void Write(const std::vector<Entry>& entries) {
    EXPECT_EQ(store_->Write(entries, WallTime()), OkStatus());
  }

  const TempDirectory directory_;
  const std::unique_ptr<Store> store_;
  std::vector<StoredRequest> written_;
};

class Damage : public ::testing::Test {
 protected:
  // What a store finds of this log.
  std::vector<StoredRequest> Find(const std::string& bytes) {
    std::filesystem::remove(directory_ / "journal.db-shm");
    WriteFile(directory_ / "journal.db", file_);
    WriteFile(directory_ / "journal.db-wal", bytes);
    const auto store = Store::Open(directory_.path(), Sync::kProcess);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? (*store)->TakeUnfinished() : std::vector<StoredRequest>();
  }

  // Every request a prefix of what it was.
  void ExpectNothingWrong(const std::vector<StoredRequest>& found) {
    for (const StoredRequest& request : found) {
      const auto original =
          std::find_if(log_.written().begin(), log_.written().end(),
                       [&](const auto& each) { return each.request_id == request.request_id; });
      ASSERT_NE(original, log_.written().end()) << request.request_id;
      EXPECT_EQ(request.payload, original->payload);
      ASSERT_LE(request.events.size(), original->events.size());
      EXPECT_TRUE(
          std::equal(request.events.begin(), request.events.end(), original->events.begin()));
    }
  }

  const Log log_{Setting("LONGHAND_DAMAGE_BYTES", 100'000)};
  const std::string file_ = log_.file();
  const TempDirectory directory_;
};

TEST_F(Damage, ALogThatIsTornOrFlippedAtAByteGivesWhatWasWholeBeforeIt) {
  const std::string bytes = log_.bytes();
  ASSERT_EQ(Find(bytes), log_.written());
  const size_t step = Setting("LONGHAND_DAMAGE_STEP", 997);
  size_t num_damages = 0, num_events_before = 0;
  for (size_t at = Setting("LONGHAND_DAMAGE_FIRST", 0); at < bytes.size(); at += step) {
    SCOPED_TRACE("byte " + std::to_string(at));
    const std::vector<StoredRequest> torn = Find(bytes.substr(0, at));
    ExpectNothingWrong(torn);
    size_t num_events = 0;
    for (const StoredRequest& request : torn) num_events += request.events.size();
    EXPECT_GE(num_events, num_events_before);  // The longest: it grows with the log.
    num_events_before = num_events;
    std::string flipped = bytes;
    flipped[at] ^= static_cast<char>(1 << (at % 8));
    const std::vector<StoredRequest> found = Find(flipped);
    ExpectNothingWrong(found);
    // The log's header has words that nothing depends on.
    EXPECT_TRUE(found == torn || (at < 32 && found == log_.written()));
    ++num_damages;
    if (HasFailure()) return;
  }
  std::printf("%zu damaged bytes of a log of %zu\n", num_damages, bytes.size());
}

}  // namespace
}  // namespace longhand::journal
