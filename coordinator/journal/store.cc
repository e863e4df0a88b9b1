#include "coordinator/journal/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/check.h"
#include "coordinator/journal/checksum.h"

namespace longhand::journal {
namespace {

// Chain::chunked_seq of a request whose chunks are not what could be read of it.
constexpr int64_t kUnknown = -1;
// More go to their requests' chunks.
constexpr int64_t kMaxBatchedBytes = 256 << 10;

constexpr const char* kTables = R"(
  CREATE TABLE IF NOT EXISTS requests (
    key INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, payload BLOB NOT NULL,
    checksum INTEGER NOT NULL, ended_at INTEGER, end BLOB, end_checksum INTEGER);
  CREATE INDEX IF NOT EXISTS ended ON requests (ended_at) WHERE ended_at IS NOT NULL;
  CREATE TABLE IF NOT EXISTS batches (batch INTEGER PRIMARY KEY, records BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS chunks (
    request INTEGER NOT NULL, first_seq INTEGER NOT NULL, records BLOB NOT NULL,
    PRIMARY KEY (request, first_seq)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS attempts (
    request INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, checksum INTEGER NOT NULL);
)";

// kInternal: the damage makes another, valid schema.
bool IsDamage(const Status& status) {
  return status.code() == StatusCode::kDataLoss || status.code() == StatusCode::kInternal;
}

constexpr std::array<const char*, 3> kSuffixes = {"", "-wal", "-shm"};

// What was saved of a damaged file, until it takes its place. Whole where that has no file any
// more.
std::string SavedPath(const std::string& path) { return path + ".saved"; }

void Remove(const std::string& path) {
  std::error_code ignored;
  for (const char* suffix : kSuffixes) std::filesystem::remove(path + suffix, ignored);
}

Status PutAside(const std::string& path, const char* suffix) {
  const std::filesystem::path from = path + suffix, to = path + ".damaged" + suffix;
  std::error_code error;
  if (std::filesystem::exists(from, error)) std::filesystem::rename(from, to, error);
  if (error) return Unavailable(from.string(), " cannot be put aside: ", error.message());
  return OkStatus();
}

// Where a process died before this, the next one does it.
Status TakeSaved(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) || !std::filesystem::exists(SavedPath(path), error))
    return OkStatus();
  // The log of another file.
  LONGHAND_RETURN_IF_ERROR(PutAside(path, "-wal"));
  LONGHAND_RETURN_IF_ERROR(PutAside(path, "-shm"));
  std::filesystem::rename(SavedPath(path), path, error);
  if (error) return Unavailable(SavedPath(path), " cannot be renamed: ", error.message());
  return OkStatus();
}

// SQLite opens a file that it may not write for reading alone, and says so when it is too late.
Status CheckAccess(const std::string& path) {
  for (const char* suffix : kSuffixes) {
    const std::string file = path + suffix;
    if (faccessat(AT_FDCWD, file.c_str(), R_OK | W_OK, AT_EACCESS) != 0 && errno != ENOENT)
      return FileStatus(errno, file, "written");
  }
  return OkStatus();
}

int64_t NumBytes(std::span<const Entry> entries) {
  int64_t num_bytes = 0;
  for (const Entry& entry : entries) {
    std::visit(
        [&](const auto& each) {
          if constexpr (requires { each.payload; }) num_bytes += std::ssize(each.payload);
        },
        entry);
  }
  return num_bytes;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& directory, Sync sync) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return FileStatus(error.value(), directory, "made");
  LONGHAND_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(directory));
  LONGHAND_RETURN_IF_ERROR(CheckAccess(FilePath(directory)));
  Result<std::unique_ptr<Store>> store = OpenOrSave(directory, sync);
  if (store.status().code() == StatusCode::kResourceExhausted) {
    DiskReserve reserve(directory);
    reserve.GiveUp();
    store = OpenOrSave(directory, sync);
    // In SQLite's words it may be an I/O error.
    if (store.status().code() == StatusCode::kResourceExhausted)
      return reserve.Full(DiskReserve::kBytes + kLeastRoom);
  }
  if (store.ok()) (*store)->lock_ = std::move(lock);
  return store;
}

Result<std::unique_ptr<Store>> Store::OpenOrSave(const std::filesystem::path& directory,
                                                 Sync sync) {
  const std::string path = FilePath(directory);
  LONGHAND_RETURN_IF_ERROR(TakeSaved(path));
  std::vector<StoredRequest> saved;
  int64_t num_lost = 0;
  {
    Result<std::unique_ptr<Store>> opened = OpenFile(directory, path, sync);
    if (opened.ok()) {
      const Status status = (*opened)->ReadUnfinished();
      if (status.ok()) return opened;
      if (!IsDamage(status)) return status;
      saved = std::move((*opened)->unfinished_);
      num_lost = (*opened)->num_lost_records_;
    } else if (!IsDamage(opened.status())) {
      return opened.status();
    }
  }
  LONGHAND_RETURN_IF_ERROR(Save(directory, saved, sync));
  // The damaged file stays for whoever wants to look.
  LONGHAND_RETURN_IF_ERROR(PutAside(path, ""));
  LONGHAND_RETURN_IF_ERROR(TakeSaved(path));
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenFile(directory, path, sync));
  LONGHAND_RETURN_IF_ERROR(store->ReadUnfinished());
  store->num_lost_records_ = num_lost + 1;
  return store;
}

// An older damaged file makes room.
Status Store::Save(const std::filesystem::path& directory,
                   const std::vector<StoredRequest>& saved,
                   Sync sync) {
  const std::string path = SavedPath(FilePath(directory));
  Remove(FilePath(directory) + ".damaged");
  Remove(path);
  LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenFile(directory, path, sync));
  std::vector<Entry> entries;
  for (const StoredRequest& request : saved) {
    entries.emplace_back(RequestEntry{request.request_id, request.payload});
    for (const StoredEvent& event : request.events)
      entries.emplace_back(EventEntry{request.request_id, event.seq, event.payload});
    entries.emplace_back(AttemptEntry{request.request_id, request.attempts});
  }
  LONGHAND_RETURN_IF_ERROR(store->WriteOnce(entries, WallTime()));
  return store->Checkpoint();
}

Result<std::unique_ptr<Store>> Store::OpenFile(const std::filesystem::path& directory,
                                               const std::string& path,
                                               Sync sync) {
  LONGHAND_ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Mode::kReadWrite));
  std::unique_ptr<Store> store(new Store(std::move(database), directory));
  LONGHAND_RETURN_IF_ERROR(store->Prepare(sync));
  return store;
}

// The first version had a row for each event.
Status Store::CheckVersion() {
  LONGHAND_ASSIGN_OR_RETURN(Statement tables,
                            database_.Prepare("SELECT 1 FROM sqlite_schema WHERE name = 'events'"));
  LONGHAND_ASSIGN_OR_RETURN(const bool is_old, tables.Step());
  if (!is_old) return OkStatus();
  return FailedPrecondition(
      "the journal was written by an older version; let that one finish its "
      "requests, or name another directory");
}

Status Store::Prepare(Sync sync) {
  // Damaged pages are found when they are read, not when they have misled.
  LONGHAND_RETURN_IF_ERROR(
      database_.Execute("PRAGMA cell_size_check = ON; PRAGMA auto_vacuum = INCREMENTAL"));
  // The reserve must do for a checkpoint of the whole log; what a large transaction made of it is
  // given back.
  LONGHAND_RETURN_IF_ERROR(
      database_.Execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 128; "
                        "PRAGMA journal_size_limit = 1048576"));
  LONGHAND_RETURN_IF_ERROR(database_.Execute(sync == Sync::kDisk ? "PRAGMA synchronous = FULL"
                                                                 : "PRAGMA synchronous = OFF"));
  LONGHAND_RETURN_IF_ERROR(CheckVersion());
  LONGHAND_RETURN_IF_ERROR(database_.Execute(kTables));
  LONGHAND_ASSIGN_OR_RETURN(
      insert_request_, database_.Prepare("INSERT INTO requests (request_id, payload, checksum) "
                                         "VALUES (?, ?, ?) RETURNING key"));
  LONGHAND_ASSIGN_OR_RETURN(delete_ended_chunks_,
                            database_.Prepare("DELETE FROM chunks WHERE request = (SELECT key FROM "
                                              "requests WHERE request_id = ?)"));
  LONGHAND_ASSIGN_OR_RETURN(delete_ended_,
                            database_.Prepare("DELETE FROM requests WHERE request_id = ?"));
  LONGHAND_ASSIGN_OR_RETURN(insert_batch_,
                            database_.Prepare("INSERT INTO batches (records) VALUES (?)"));
  LONGHAND_ASSIGN_OR_RETURN(insert_chunk_,
                            database_.Prepare("INSERT INTO chunks VALUES (?, ?, ?)"));
  LONGHAND_ASSIGN_OR_RETURN(delete_batches_, database_.Prepare("DELETE FROM batches"));
  LONGHAND_ASSIGN_OR_RETURN(end_request_,
                            database_.Prepare("UPDATE requests SET ended_at = ?, end = ?, "
                                              "end_checksum = ? WHERE key = ?"));
  LONGHAND_ASSIGN_OR_RETURN(set_attempts_,
                            database_.Prepare("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)"));
  LONGHAND_ASSIGN_OR_RETURN(delete_attempts_,
                            database_.Prepare("DELETE FROM attempts WHERE request = ?"));
  return OkStatus();
}

Status Store::ReadUnfinished() {
  BatchedEvents batched;
  Status damage = batched.Read(database_);
  if (!damage.ok() && !IsDamage(damage)) return damage;
  num_lost_records_ += batched.num_damaged;
  LONGHAND_ASSIGN_OR_RETURN(
      Statement rows, database_.Prepare("SELECT key, request_id, payload, checksum FROM requests "
                                        "WHERE ended_at IS NULL ORDER BY key"));
  std::vector<int64_t> broken;
  while (true) {
    Result<bool> has_row = rows.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) break;
    StoredRequest request{rows.Bytes(1), rows.Bytes(2), {}, {}};
    Chain chain{.key = rows.Int(0),
                .checksum = RequestChecksum(request.request_id, request.payload)};
    if (int64_t{chain.checksum} != rows.Int(3)) {
      broken.push_back(chain.key);
      continue;
    }
    int64_t num_lost = 0;
    Status status = ReadEvents(database_, batched, chain, request, num_lost);
    if (status.ok()) status = ReadAttempts(chain, &request);
    num_lost_records_ += num_lost;
    if (num_lost > 0) chain.chunked_seq = kUnknown;
    if (!status.ok() && !IsDamage(status)) return status;
    if (!status.ok()) damage = status;
    chains_.emplace(request.request_id, chain);
    unfinished_.push_back(std::move(request));
  }
  LONGHAND_RETURN_IF_ERROR(damage);
  LONGHAND_RETURN_IF_ERROR(CheckPages());
  num_lost_records_ += static_cast<int64_t>(broken.size());
  return InTransaction([&] {
    for (const int64_t key : broken) LONGHAND_RETURN_IF_ERROR(Forget(key));
    for (const StoredRequest& request : unfinished_) {
      LONGHAND_RETURN_IF_ERROR(Rewrite(request, &chains_.at(request.request_id)));
    }
    return delete_batches_.Run();
  });
}

// Those too that no unfinished request needs: a later write would.
Status Store::CheckPages() {
  LONGHAND_ASSIGN_OR_RETURN(Statement check, database_.Prepare("PRAGMA quick_check(1)"));
  LONGHAND_RETURN_IF_ERROR(check.Step().status());
  const std::string found = check.Bytes(0);
  return found == "ok" ? OkStatus() : Status(StatusCode::kDataLoss, found);
}

// Those since the latest event; the checksum of others does not match any more.
Status Store::ReadAttempts(const Chain& chain, StoredRequest* request) {
  LONGHAND_ASSIGN_OR_RETURN(
      Statement row,
      database_.Prepare("SELECT attempts, checksum FROM attempts WHERE request = ?"));
  LONGHAND_ASSIGN_OR_RETURN(const bool has_row, row.Bind(1, chain.key).Step());
  if (!has_row) return OkStatus();
  const auto attempts = static_cast<int32_t>(row.Int(0));
  if (int64_t{AttemptChecksum(chain.checksum, attempts)} == row.Int(1))
    request->attempts = attempts;
  return OkStatus();
}

Status Store::Forget(int64_t key) {
  LONGHAND_ASSIGN_OR_RETURN(Statement chunks,
                            database_.Prepare("DELETE FROM chunks WHERE request = ?"));
  LONGHAND_RETURN_IF_ERROR(chunks.Bind(1, key).Run());
  LONGHAND_ASSIGN_OR_RETURN(Statement row, database_.Prepare("DELETE FROM requests WHERE key = ?"));
  return row.Bind(1, key).Run();
}

Status Store::Rewrite(const StoredRequest& request, Chain* chain) {
  if (chain->chunked_seq == kUnknown) {
    LONGHAND_ASSIGN_OR_RETURN(Statement chunks,
                              database_.Prepare("DELETE FROM chunks WHERE request = ?"));
    LONGHAND_RETURN_IF_ERROR(chunks.Bind(1, chain->key).Run());
    chain->chunked_seq = 0;
  }
  if (chain->chunked_seq == chain->last_seq) return OkStatus();
  uint32_t checksum = RequestChecksum(request.request_id, request.payload);
  std::string records;
  for (const StoredEvent& event : request.events) {
    checksum = Checksum(checksum, event.seq, event.payload);
    if (event.seq > chain->chunked_seq)
      AppendRecord(chain->key, event.seq, checksum, event.payload, records);
  }
  LONGHAND_RETURN_IF_ERROR(AddChunk(*chain, records));
  chain->chunked_seq = chain->last_seq;
  return OkStatus();
}

Status Store::AddChunk(const Chain& chain, std::string_view records) {
  if (records.empty()) return OkStatus();
  return insert_chunk_.Bind(1, chain.key).Bind(2, chain.chunked_seq + 1).Bind(3, records).Run();
}

Status Store::Write(std::span<const Entry> entries, WallTime now) {
  const int64_t num_bytes = NumBytes(entries);
  const bool is_large = num_bytes > kMaxBatchedBytes;
  if (!reserve_.is_held() || is_large) {
    const Status room = KeepRoom(num_bytes);
    if (!reserve_.is_held() || (is_large && !room.ok())) return room;
  }
  Status status = WriteOnce(entries, now);
  if (status.code() != StatusCode::kResourceExhausted) return status;
  const Status room = MakeRoom(num_bytes);
  if (reserve_.is_held()) status = WriteOnce(entries, now);
  return status.code() == StatusCode::kResourceExhausted && !room.ok() ? room : status;
}

Status Store::WriteOnce(std::span<const Entry> entries, WallTime now) {
  Chains changed;
  batch_.clear();
  bool is_emptied = false;
  LONGHAND_RETURN_IF_ERROR(InTransaction([&]() -> Status {
    for (const Entry& entry : entries) {
      LONGHAND_RETURN_IF_ERROR(
          std::visit([&](const auto& each) { return Apply(each, now, &changed); }, entry));
    }
    if (batch_.empty()) return OkStatus();
    is_emptied = batched_bytes_ + std::ssize(batch_) > kMaxBatchedBytes;
    if (is_emptied) return EmptyBatches(&changed);
    return insert_batch_.Bind(1, std::string_view(batch_)).Run();
  }));
  batched_bytes_ = is_emptied ? 0 : batched_bytes_ + std::ssize(batch_);
  for (auto& [id, change] : changed) {
    if (change.key == 0) {
      chains_.erase(id);
      continue;
    }
    Chain& chain = chains_[id];
    if (is_emptied) {
      change.tail.clear();
    } else if (chain.key == change.key) {
      change.tail = std::move(chain.tail.append(change.tail));
    }
    chain = std::move(change);
  }
  return OkStatus();
}

// What waits in batches, and what this transaction adds, becomes a chunk of each request.
Status Store::EmptyBatches(Chains* changed) {
  for (const auto& [id, chain] : chains_) {
    if (!chain.tail.empty() && !changed->contains(id)) Open(id, changed);
  }
  for (auto& [id, change] : *changed) {
    if (change.key == 0) continue;
    LONGHAND_RETURN_IF_ERROR(AddChunk(change, Tail(id, change)));
    change.chunked_seq = change.last_seq;
  }
  return delete_batches_.Run();
}

// Its records that are in no chunk yet, with those of this transaction.
std::string Store::Tail(const std::string& request_id, const Chain& change) const {
  const auto open = chains_.find(request_id);
  const bool goes_on = open != chains_.end() && open->second.key == change.key;
  return goes_on ? open->second.tail + change.tail : change.tail;
}

Status Store::Apply(const RequestEntry& entry, WallTime, Chains* changed) {
  const auto open = changed->find(entry.request_id);
  LONGHAND_CHECK(open == changed->end() ? !chains_.contains(entry.request_id)
                                        : open->second.key == 0)
      << "request " << entry.request_id << " begins twice";
  // An id that is over is free again: its record makes room.
  LONGHAND_RETURN_IF_ERROR(delete_ended_chunks_.BindText(1, entry.request_id).Run());
  LONGHAND_RETURN_IF_ERROR(delete_ended_.BindText(1, entry.request_id).Run());
  const uint32_t checksum = RequestChecksum(entry.request_id, entry.payload);
  insert_request_.BindText(1, entry.request_id)
      .Bind(2, std::string_view(entry.payload))
      .Bind(3, int64_t{checksum});
  LONGHAND_RETURN_IF_ERROR(insert_request_.Step().status());
  (*changed)[entry.request_id] = {.key = insert_request_.Int(0), .checksum = checksum};
  insert_request_.Reset();
  return OkStatus();
}

Status Store::Apply(const EventEntry& entry, WallTime, Chains* changed) {
  Chain& chain = Open(entry.request_id, changed);
  LONGHAND_CHECK_EQ(entry.seq, chain.last_seq + 1) << entry.request_id;
  chain.last_seq = entry.seq;
  chain.checksum = Checksum(chain.checksum, entry.seq, entry.payload);
  const size_t begin = batch_.size();
  AppendRecord(chain.key, entry.seq, chain.checksum, entry.payload, batch_);
  chain.tail.append(batch_, begin);
  return OkStatus();
}

Status Store::Apply(const EndEntry& entry, WallTime now, Chains* changed) {
  Chain& chain = Open(entry.request_id, changed);
  LONGHAND_RETURN_IF_ERROR(AddChunk(chain, Tail(entry.request_id, chain)));
  const uint32_t checksum = EndChecksum(chain.checksum, entry.payload);
  LONGHAND_RETURN_IF_ERROR(end_request_.Bind(1, now.time_since_epoch().count())
                               .Bind(2, std::string_view(entry.payload))
                               .Bind(3, int64_t{checksum})
                               .Bind(4, chain.key)
                               .Run());
  return delete_attempts_.Bind(1, std::exchange(chain.key, 0)).Run();
}

Status Store::Apply(const AttemptEntry& entry, WallTime, Chains* changed) {
  const auto found = changed->find(entry.request_id);
  const auto open = chains_.find(entry.request_id);
  if (found == changed->end() && open == chains_.end()) return OkStatus();
  const Chain& chain = found == changed->end() ? open->second : found->second;
  if (chain.key == 0) return OkStatus();
  return set_attempts_.Bind(1, chain.key)
      .Bind(2, int64_t{entry.attempts})
      .Bind(3, int64_t{AttemptChecksum(chain.checksum, entry.attempts)})
      .Run();
}

Chain& Store::Open(const std::string& request_id, Chains* changed) {
  auto found = changed->find(request_id);
  if (found == changed->end()) {
    const auto open = chains_.find(request_id);
    LONGHAND_CHECK(open != chains_.end()) << "request " << request_id << " has not begun";
    const Chain& chain = open->second;
    found = changed
                ->emplace(request_id,
                          Chain{chain.key, chain.last_seq, chain.checksum, chain.chunked_seq, {}})
                .first;
  }
  LONGHAND_CHECK(found->second.key != 0) << "request " << request_id << " has ended";
  return found->second;
}

Status Store::InTransaction(const std::function<Status()>& body) {
  LONGHAND_RETURN_IF_ERROR(database_.CheckPlace());
  LONGHAND_RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
  Status status = body();
  if (status.ok()) status = database_.Execute("COMMIT");
  if (status.ok()) return status;
  // SQLite has rolled back by itself after some errors; then there is nothing to do.
  (void)database_.Execute("ROLLBACK");
  return status;
}

}  // namespace longhand::journal
