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
  // Creates the directory and the file where they are missing. kFailedPrecondition while another
  // process has it open, and of a file that an older version wrote.
  static Result<std::unique_ptr<Store>> Open(const std::filesystem::path& directory, Sync sync);

  // The requests that have not ended, oldest first, as they were when the store was opened.
  std::vector<StoredRequest> TakeUnfinished() { return std::move(unfinished_); }
  // Records that were not whole, and are gone.
  int64_t num_lost_records() const { return num_lost_records_; }

  // One transaction. LONGHAND_CHECKs that a request begins once, counts its events without gaps,
  // and ends at most once.
  Status Write(std::span<const Entry> entries, WallTime now);
  // One transaction: forgets what the retention allows, at most `max_requests` of them. Whether it
  // may allow more.
  Result<bool> Prune(const Retention& retention, WallTime now, int64_t max_requests = 100);
  // Of the pages in use; the write-ahead log comes on top, at most a few megabytes.
  Result<int64_t> SizeBytes();

 private:
  // Of requests that have not ended. In a transaction: what becomes of those that it touches, with
  // the records that it adds to the tail; key 0: the request has ended.
  using Chains = std::unordered_map<std::string, Chain>;

  explicit Store(Database database) : database_(std::move(database)) {}
  static Result<std::unique_ptr<Store>> OpenOrSave(const std::string& path, Sync sync);
  static Result<std::unique_ptr<Store>> OpenFile(const std::string& path, Sync sync);

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
  Status InTransaction(const std::function<Status()>& body);

  DirectoryLock lock_;
  Database database_;
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
