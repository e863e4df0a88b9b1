// Store: the journal's file. Writes batches of entries in one transaction each, and finds again
// what is whole after a crash.
//
// journal.db is SQLite in WAL mode: a batch is there as a whole or not at all when the process
// dies, with Sync::kDisk also when the power fails (without, nothing ever waits for the device).
// Within a request every record carries a checksum of all before it: recovery takes the longest
// valid prefix and forgets the rest. A file that SQLite cannot read to its end is put aside as
// journal.db.damaged; what could be read goes on in a new one. How events lie in it:
// event_records.h.
//
// A disk that is full, of whatever, is a bound too: requests that are over are forgotten for what
// is still being made, oldest first, and what cannot be written then can be once there is room.
//
// Errors: SqliteStatus (database.h). After an error nothing of the batch is there, and Write may be
// called again with the same one.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/status.h"
#include "coordinator/journal/database.h"
#include "coordinator/journal/directory_lock.h"
#include "coordinator/journal/disk_reserve.h"
#include "coordinator/journal/entry.h"
#include "coordinator/journal/event_records.h"

namespace longhand::journal {

// What survives: the death of the process, or also of the machine (one fsync a batch).
enum class Sync { kProcess, kDisk };

// When requests that are over are forgotten, the oldest first.
struct Retention {
  std::chrono::seconds max_age = std::chrono::hours(24);
  int64_t max_bytes = int64_t{1} << 30;  // of the file, as far as requests that are over allow
};

// Seconds since 1970: ages must hold across restarts.
using WallTime = std::chrono::sys_seconds;

inline std::string FilePath(const std::filesystem::path& directory) {
  return (directory / "journal.db").string();
}

class Store {
 public:
  // Beside the reserve: with less nothing new is begun, so that what runs can go on for a while.
  static constexpr int64_t kLeastRoom = 256 << 10;
  // Of one entry: SQLite has rows of a billion bytes.
  static constexpr int64_t kMaxPayloadBytes = 950 << 20;

  // Creates the directory and the file where they are missing. kFailedPrecondition where only a
  // person helps: another process has it open, an older version wrote it, it is not ours to write.
  // kResourceExhausted (the disk is full) and kUnavailable (it fails, or is read-only) may come
  // right by themselves.
  static Result<std::unique_ptr<Store>> Open(const std::filesystem::path& directory, Sync sync);

  // The requests that have not ended, oldest first, as they were when the store was opened.
  std::vector<StoredRequest> TakeUnfinished() { return std::move(unfinished_); }
  // Records that were not whole, and are gone.
  int64_t num_lost_records() const { return num_lost_records_; }

  // One transaction. LONGHAND_CHECKs that a request begins once, counts its events without gaps,
  // and ends at most once. kResourceExhausted with what is free and what is needed when the disk is
  // full, whatever was forgotten.
  Status Write(std::span<const Entry> entries, WallTime now);
  // Sees to it that the disk has room for so many bytes in one transaction, some for others, and
  // the reserve: forgets requests that are over, the oldest first, as far as that is needed.
  // kResourceExhausted as of Write.
  Status KeepRoom(int64_t num_bytes = 0);
  // Forgets what the retention allows, some of it. Whether it may allow more.
  Result<bool> Prune(const Retention& retention, WallTime now);
  // Of the pages in use; the write-ahead log comes on top, at most a few megabytes.
  Result<int64_t> SizeBytes();
  // Of those that are kept; the beginning of 1970 where none is, or none can be read.
  WallTime LatestEnd();
  // Any thread.
  Result<int64_t> AvailableBytes() const { return reserve_.AvailableBytes(); }
  // Requests that the retention would have kept.
  int64_t num_forgotten_for_room() const { return num_forgotten_for_room_; }

 private:
  // Of requests that have not ended. In a transaction: what becomes of those that it touches, with
  // the records that it adds to the tail; key 0: the request has ended.
  using Chains = std::unordered_map<std::string, Chain>;

  Store(Database database, const std::filesystem::path& directory)
      : database_(std::move(database)), reserve_(directory) {}
  static Result<std::unique_ptr<Store>> OpenOrSave(const std::filesystem::path& directory,
                                                   Sync sync);
  // Writes a file of its own that has these, all of it on disk.
  static Status Save(const std::filesystem::path& directory,
                     const std::vector<StoredRequest>& saved,
                     Sync sync);
  static Result<std::unique_ptr<Store>> OpenFile(const std::filesystem::path& directory,
                                                 const std::string& path,
                                                 Sync sync);

  Status Prepare(Sync sync);
  Status CheckVersion();
  // Fills unfinished_ and chains_. kDataLoss when SQLite could not read everything.
  Status ReadUnfinished();
  Status CheckPages();
  Status ReadAttempts(const Chain& chain, StoredRequest* request);
  Status Forget(int64_t key);
  // Makes its chunks what `request` has.
  Status Rewrite(const StoredRequest& request, Chain* chain);
  Status AddChunk(const Chain& chain, std::string_view records);
  Status Apply(const RequestEntry& entry, WallTime now, Chains* changed);
  Status Apply(const EventEntry& entry, WallTime now, Chains* changed);
  Status Apply(const EndEntry& entry, WallTime now, Chains* changed);
  Status Apply(const AttemptEntry& entry, WallTime now, Chains* changed);
  Chain& Open(const std::string& request_id, Chains* changed);
  std::string Tail(const std::string& request_id, const Chain& chain) const;
  Status EmptyBatches(Chains* changed);
  Status WriteOnce(std::span<const Entry> entries, WallTime now);

  // Room (store_room.cc).
  using MayForget = std::function<bool(int64_t ended_at, int64_t size_bytes)>;
  Status MakeRoom(int64_t num_bytes);
  void ForgetUntil(int64_t available_bytes);
  Result<int64_t> ForgetOldest(int64_t max_requests, const MayForget& may_forget);
  Result<bool> HasEnded();
  // Of the file's pages that hold nothing, at most so many; whether there may be more.
  Result<bool> GiveBackPages(int64_t max_pages);
  Result<int64_t> NumFreePages();
  Status Checkpoint();
  Status InTransaction(const std::function<Status()>& body);

  DirectoryLock lock_;
  Database database_;
  DiskReserve reserve_;
  int64_t num_forgotten_for_room_ = 0;
  std::vector<StoredRequest> unfinished_;
  int64_t num_lost_records_ = 0;
  Chains chains_;
  int64_t batched_bytes_ = 0;  // in the table of batches
  std::string batch_;          // records of the transaction under way
  Statement insert_request_, insert_batch_, insert_chunk_, delete_batches_;
  Statement end_request_, delete_ended_chunks_, delete_ended_;
  Statement set_attempts_, delete_attempts_;
};

}  // namespace longhand::journal
