// Damage at every byte of the journal's log: a bit flipped or the rest torn off. What is found is
// the longest valid prefix, and never anything that was not written.
//
// The log is a chain of frames, of which SQLite takes the first ones that are whole, up to the end
// of a transaction. So each damaged log goes through SQLite's recovery, which has to take exactly
// the frames before the damage; and for each number of frames a store is opened and read, once torn
// and once flipped.
//
// The quick run takes some bytes of a small log; scripts/journal_damage all of a megabyte, by
// $LONGHAND_DAMAGE_BYTES (of the log), $LONGHAND_DAMAGE_FIRST and $LONGHAND_DAMAGE_STEP.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "common/check.h"
#include "coordinator/journal/database.h"
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

// Where the frames of a log end, from its bytes (SQLite's file format, section 4).
class Frames {
 public:
  explicit Frames(const std::string& bytes) {
    const size_t frame_bytes = kFrameHeader + Word(bytes, 8);
    for (size_t end = kHeader + frame_bytes; end <= bytes.size(); end += frame_bytes)
      is_commit_.push_back(Word(bytes, end - frame_bytes + 4) != 0);
    frame_bytes_ = frame_bytes;
  }

  // Of the transactions that lie whole in the first `num_bytes` bytes.
  size_t NumWholeBefore(size_t num_bytes) const {
    size_t count = num_bytes < kHeader ? 0 : (num_bytes - kHeader) / frame_bytes_;
    while (count > 0 && !is_commit_[count - 1]) --count;
    return count;
  }

  static constexpr size_t kHeader = 32;

 private:
  static constexpr size_t kFrameHeader = 24;
  static uint32_t Word(const std::string& bytes, size_t at) {
    uint32_t word = 0;
    for (size_t i = at; i < at + 4; ++i) word = word << 8 | static_cast<uint8_t>(bytes.at(i));
    return word;
  }

  size_t frame_bytes_ = 0;
  std::vector<bool> is_commit_;
};

// A copy of a log that is damaged in its place.
class DamagedLog {
 public:
  DamagedLog(const std::string& file, std::string bytes) : bytes_(std::move(bytes)) {
    WriteFile(directory_ / "journal.db", file);
    WriteFile(log_path(), bytes_);
    log_ = open(log_path().c_str(), O_RDWR);
    LONGHAND_CHECK(log_ >= 0);
  }
  ~DamagedLog() { close(log_); }

  void Flip(size_t at) {
    Put(at, static_cast<char>(bytes_[at] ^ static_cast<char>(1 << (at % 8))));
  }
  void Mend(size_t at) { Put(at, bytes_[at]); }
  // From now on; never longer than before.
  void Tear(size_t at) { LONGHAND_CHECK_EQ(ftruncate(log_, static_cast<off_t>(at)), 0); }

  // The frames that SQLite takes when it opens the log.
  size_t NumFramesTaken() const {
    std::filesystem::remove(directory_ / "journal.db-shm");
    Result<Database> database =
        Database::Open(FilePath(directory_.path()), Database::Mode::kReadOnly);
    LONGHAND_CHECK(database.ok()) << database.status();
    const Status status = database->Execute("SELECT count(*) FROM sqlite_schema");
    LONGHAND_CHECK(status.ok()) << status;
    // mxFrame of the index that it makes.
    uint32_t num_frames = 0;
    const int index = open((directory_ / "journal.db-shm").c_str(), O_RDONLY);
    LONGHAND_CHECK_EQ(pread(index, &num_frames, sizeof(num_frames), 16),
                      static_cast<ssize_t>(sizeof(num_frames)));
    close(index);
    return num_frames;
  }

 private:
  std::filesystem::path log_path() const { return directory_ / "journal.db-wal"; }
  void Put(size_t at, char byte) {
    LONGHAND_CHECK_EQ(pwrite(log_, &byte, 1, static_cast<off_t>(at)), 1);
  }

  const TempDirectory directory_;
  const std::string bytes_;
  int log_ = -1;
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

  // Every request a prefix of what it was, and together as long as the first frames are.
  void ExpectPrefix(const std::vector<StoredRequest>& found, size_t num_frames) {
    size_t num_events = 0;
    for (const StoredRequest& request : found) {
      const auto original =
          std::find_if(log_.written().begin(), log_.written().end(),
                       [&](const auto& each) { return each.request_id == request.request_id; });
      ASSERT_NE(original, log_.written().end()) << request.request_id;
      EXPECT_EQ(request.payload, original->payload);
      ASSERT_LE(request.events.size(), original->events.size());
      EXPECT_TRUE(
          std::equal(request.events.begin(), request.events.end(), original->events.begin()));
      num_events += request.events.size();
    }
    const auto [known, is_new] = events_of_.emplace(num_frames, num_events);
    EXPECT_EQ(num_events, known->second);
    // The longest: it grows with the log.
    const auto later = std::next(known);
    EXPECT_GE(num_events, known == events_of_.begin() ? 0 : std::prev(known)->second);
    EXPECT_LE(num_events, later == events_of_.end() ? num_events : later->second);
  }

  const Log log_{Setting("LONGHAND_DAMAGE_BYTES", 100'000)};
  const std::string bytes_ = log_.bytes();
  const std::string file_ = log_.file();
  const Frames frames_{bytes_};
  const size_t first_ = Setting("LONGHAND_DAMAGE_FIRST", 0);
  const size_t step_ = Setting("LONGHAND_DAMAGE_STEP", 997);
  std::map<size_t, size_t> events_of_;  // by frames
  const TempDirectory directory_;
};

TEST_F(Damage, AFlippedBitIsTheEndOfTheLog) {
  ASSERT_EQ(Find(bytes_), log_.written());
  DamagedLog damaged(file_, bytes_);
  const size_t all = frames_.NumWholeBefore(bytes_.size());
  ASSERT_EQ(damaged.NumFramesTaken(), all);
  size_t num_damages = 0;
  for (size_t at = first_; at < bytes_.size(); at += step_, ++num_damages) {
    SCOPED_TRACE("byte " + std::to_string(at));
    damaged.Flip(at);
    const size_t taken = damaged.NumFramesTaken();
    damaged.Mend(at);
    // The log's header has words that nothing depends on.
    ASSERT_TRUE(taken == frames_.NumWholeBefore(at) || (at < Frames::kHeader && taken == all))
        << taken;
    if (events_of_.contains(taken)) continue;
    std::string flipped = bytes_;
    flipped[at] ^= static_cast<char>(1 << (at % 8));
    ExpectPrefix(Find(flipped), taken);
    if (HasFailure()) return;
  }
  std::printf("%zu flipped bytes of a log of %zu; %zu of its beginnings read by a store\n",
              num_damages, bytes_.size(), events_of_.size());
}

TEST_F(Damage, ALogThatIsTornOffGivesWhatWasWholeBefore) {
  DamagedLog damaged(file_, bytes_);
  size_t num_damages = 0;
  const size_t num_places = first_ < bytes_.size() ? (bytes_.size() - first_ - 1) / step_ + 1 : 0;
  for (size_t n = num_places; n-- > 0; ++num_damages) {
    const size_t at = first_ + n * step_;
    SCOPED_TRACE("byte " + std::to_string(at));
    damaged.Tear(at);
    const size_t taken = damaged.NumFramesTaken();
    ASSERT_EQ(taken, frames_.NumWholeBefore(at));
    if (events_of_.contains(taken)) continue;
    ExpectPrefix(Find(bytes_.substr(0, at)), taken);
    if (HasFailure()) return;
  }
  std::printf("torn off at %zu bytes of a log of %zu; %zu of its beginnings read by a store\n",
              num_damages, bytes_.size(), events_of_.size());
}

}  // namespace
}  // namespace longhand::journal
