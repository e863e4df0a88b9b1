#include "coordinator/journal/store.h"

#include "common/check.h"
#include "coordinator/journal/checksum.h"

namespace longhand::journal {
namespace {

constexpr const char* kTables = R"(
  CREATE TABLE IF NOT EXISTS requests (
    key INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, payload BLOB NOT NULL,
    checksum INTEGER NOT NULL, ended_at INTEGER, end BLOB, end_checksum INTEGER);
  CREATE INDEX IF NOT EXISTS ended ON requests (ended_at) WHERE ended_at IS NOT NULL;
  CREATE TABLE IF NOT EXISTS events (
    request INTEGER NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (request, seq)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS attempts (
    request INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, checksum INTEGER NOT NULL);
)";

// kInternal: the damage makes another, valid schema.
bool IsDamage(const Status& status) {
  return status.code() == StatusCode::kDataLoss || status.code() == StatusCode::kInternal;
}

// The damaged file stays for whoever wants to look; an older one makes room.
Status PutAside(const std::string& path) {
  std::error_code error;
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::filesystem::path from = path + suffix, to = path + ".damaged" + suffix;
    std::filesystem::remove(to, error);
    if (std::filesystem::exists(from, error)) std::filesystem::rename(from, to, error);
    if (error) return Unavailable(from.string(), " cannot be put aside: ", error.message());
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& directory, Sync sync) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Unavailable(directory.string(), " cannot be made: ", error.message());
  LONGHAND_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(directory));
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenOrSave(FilePath(directory), sync));
  store->lock_ = std::move(lock);
  return store;
}

Result<std::unique_ptr<Store>> Store::OpenOrSave(const std::string& path, Sync sync) {
  std::vector<StoredRequest> saved;
  int64_t num_lost = 0;
  {
    Result<std::unique_ptr<Store>> opened = OpenFile(path, sync);
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
  LONGHAND_RETURN_IF_ERROR(PutAside(path));
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenFile(path, sync));
  std::vector<Entry> entries;
  for (const StoredRequest& request : saved) {
    entries.emplace_back(RequestEntry{request.request_id, request.payload});
    for (const StoredEvent& event : request.events)
      entries.emplace_back(EventEntry{request.request_id, event.seq, event.payload});
    entries.emplace_back(AttemptEntry{request.request_id, request.attempts});
  }
  LONGHAND_RETURN_IF_ERROR(store->Write(entries, WallTime()));
  store->unfinished_ = std::move(saved);
  store->num_lost_records_ = num_lost + 1;
  return store;
}

Result<std::unique_ptr<Store>> Store::OpenFile(const std::string& path, Sync sync) {
  LONGHAND_ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Mode::kReadWrite));
  std::unique_ptr<Store> store(new Store(std::move(database)));
  LONGHAND_RETURN_IF_ERROR(store->Prepare(sync));
  return store;
}

Status Store::Prepare(Sync sync) {
  // Damaged pages are found when they are read, not when they have misled.
  LONGHAND_RETURN_IF_ERROR(
      database_.Execute("PRAGMA cell_size_check = ON; PRAGMA auto_vacuum = INCREMENTAL"));
  LONGHAND_RETURN_IF_ERROR(database_.Execute("PRAGMA journal_mode = WAL"));
  LONGHAND_RETURN_IF_ERROR(database_.Execute(sync == Sync::kDisk ? "PRAGMA synchronous = FULL"
                                                                 : "PRAGMA synchronous = OFF"));
  LONGHAND_RETURN_IF_ERROR(database_.Execute(kTables));
  LONGHAND_ASSIGN_OR_RETURN(
      insert_request_, database_.Prepare("INSERT INTO requests (request_id, payload, checksum) "
                                         "VALUES (?, ?, ?) RETURNING key"));
  LONGHAND_ASSIGN_OR_RETURN(delete_ended_events_,
                            database_.Prepare("DELETE FROM events WHERE request = (SELECT key FROM "
                                              "requests WHERE request_id = ?)"));
  LONGHAND_ASSIGN_OR_RETURN(delete_ended_,
                            database_.Prepare("DELETE FROM requests WHERE request_id = ?"));
  LONGHAND_ASSIGN_OR_RETURN(insert_event_,
                            database_.Prepare("INSERT INTO events VALUES (?, ?, ?, ?)"));
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
  LONGHAND_ASSIGN_OR_RETURN(
      Statement rows, database_.Prepare("SELECT key, request_id, payload, checksum FROM requests "
                                        "WHERE ended_at IS NULL ORDER BY key"));
  Status damage;
  std::vector<Chain> broken;
  while (true) {
    Result<bool> has_row = rows.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) break;
    StoredRequest request{rows.Bytes(1), rows.Bytes(2), {}, {}};
    Chain chain{rows.Int(0), 0, RequestChecksum(request.request_id, request.payload)};
    if (int64_t{chain.checksum} != rows.Int(3)) {
      broken.push_back(chain);
      continue;
    }
    Status status = ReadEvents(&chain, &request);
    if (status.ok()) status = ReadAttempts(chain, &request);
    if (!status.ok() && !IsDamage(status)) return status;
    if (!status.ok()) damage = status;
    chains_.emplace(request.request_id, chain);
    unfinished_.push_back(std::move(request));
  }
  LONGHAND_RETURN_IF_ERROR(damage);
  LONGHAND_RETURN_IF_ERROR(CheckPages());
  num_lost_records_ += static_cast<int64_t>(broken.size());
  return InTransaction([&] {
    for (const Chain& chain : broken) LONGHAND_RETURN_IF_ERROR(Forget(chain, 0));
    for (const auto& [id, chain] : chains_)
      LONGHAND_RETURN_IF_ERROR(Forget(chain, chain.last_seq + 1));
    return OkStatus();
  });
}

// Those too that no unfinished request needs: a later write would.
Status Store::CheckPages() {
  LONGHAND_ASSIGN_OR_RETURN(Statement check, database_.Prepare("PRAGMA quick_check(1)"));
  LONGHAND_RETURN_IF_ERROR(check.Step().status());
  const std::string found = check.Bytes(0);
  return found == "ok" ? OkStatus() : Status(StatusCode::kDataLoss, found);
}

// The longest valid prefix.
Status Store::ReadEvents(Chain* chain, StoredRequest* request) {
  LONGHAND_ASSIGN_OR_RETURN(Statement rows,
                            database_.Prepare("SELECT seq, payload, checksum FROM events "
                                              "WHERE request = ? ORDER BY seq"));
  rows.Bind(1, chain->key);
  bool is_whole = true;
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
    if (!has_row) return OkStatus();
    StoredEvent event{rows.Int(0), rows.Bytes(1)};
    const uint32_t checksum = Checksum(chain->checksum, event.seq, event.payload);
    is_whole = is_whole && event.seq == chain->last_seq + 1 && int64_t{checksum} == rows.Int(2);
    if (!is_whole) {
      ++num_lost_records_;
      continue;
    }
    chain->checksum = checksum;
    chain->last_seq = event.seq;
    request->events.push_back(std::move(event));
  }
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

// The request's events from `from_seq` on; the request too, from 0.
Status Store::Forget(const Chain& chain, int64_t from_seq) {
  LONGHAND_ASSIGN_OR_RETURN(Statement events,
                            database_.Prepare("DELETE FROM events WHERE request = ? AND seq >= ?"));
  LONGHAND_RETURN_IF_ERROR(events.Bind(1, chain.key).Bind(2, from_seq).Run());
  if (from_seq > 0) return OkStatus();
  LONGHAND_ASSIGN_OR_RETURN(Statement row, database_.Prepare("DELETE FROM requests WHERE key = ?"));
  return row.Bind(1, chain.key).Run();
}

Status Store::Write(std::span<const Entry> entries, WallTime now) {
  Chains changed;
  LONGHAND_RETURN_IF_ERROR(InTransaction([&] {
    for (const Entry& entry : entries) {
      LONGHAND_RETURN_IF_ERROR(
          std::visit([&](const auto& each) { return Apply(each, now, &changed); }, entry));
    }
    return OkStatus();
  }));
  for (auto& [id, chain] : changed) {
    if (chain.key == 0) {
      chains_.erase(id);
    } else {
      chains_[id] = chain;
    }
  }
  return OkStatus();
}

// `changed` holds what this transaction makes of the chains; key 0: the request has ended.
Status Store::Apply(const RequestEntry& entry, WallTime, Chains* changed) {
  const auto open = changed->find(entry.request_id);
  LONGHAND_CHECK(open == changed->end() ? !chains_.contains(entry.request_id)
                                        : open->second.key == 0)
      << "request " << entry.request_id << " begins twice";
  // An id that is over is free again: its record makes room.
  LONGHAND_RETURN_IF_ERROR(delete_ended_events_.BindText(1, entry.request_id).Run());
  LONGHAND_RETURN_IF_ERROR(delete_ended_.BindText(1, entry.request_id).Run());
  const uint32_t checksum = RequestChecksum(entry.request_id, entry.payload);
  insert_request_.BindText(1, entry.request_id)
      .Bind(2, std::string_view(entry.payload))
      .Bind(3, int64_t{checksum});
  LONGHAND_RETURN_IF_ERROR(insert_request_.Step().status());
  (*changed)[entry.request_id] = {insert_request_.Int(0), 0, checksum};
  insert_request_.Reset();
  return OkStatus();
}

Status Store::Apply(const EventEntry& entry, WallTime, Chains* changed) {
  Chain& chain = Open(entry.request_id, changed);
  LONGHAND_CHECK_EQ(entry.seq, chain.last_seq + 1) << entry.request_id;
  chain.last_seq = entry.seq;
  chain.checksum = Checksum(chain.checksum, entry.seq, entry.payload);
  return insert_event_.Bind(1, chain.key)
      .Bind(2, entry.seq)
      .Bind(3, std::string_view(entry.payload))
      .Bind(4, int64_t{chain.checksum})
      .Run();
}

Status Store::Apply(const EndEntry& entry, WallTime now, Chains* changed) {
  Chain& chain = Open(entry.request_id, changed);
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

Store::Chain& Store::Open(const std::string& request_id, Chains* changed) {
  auto found = changed->find(request_id);
  if (found == changed->end()) {
    const auto open = chains_.find(request_id);
    LONGHAND_CHECK(open != chains_.end()) << "request " << request_id << " has not begun";
    found = changed->emplace(request_id, open->second).first;
  }
  LONGHAND_CHECK(found->second.key != 0) << "request " << request_id << " has ended";
  return found->second;
}

Status Store::Prune(const Retention& retention, WallTime now, int64_t max_requests) {
  const int64_t oldest = (now - retention.max_age).time_since_epoch().count();
  return InTransaction([&]() -> Status {
    LONGHAND_ASSIGN_OR_RETURN(
        Statement rows,
        database_.Prepare("SELECT key, ended_at FROM requests WHERE ended_at IS NOT "
                          "NULL ORDER BY ended_at, key LIMIT ?"));
    rows.Bind(1, max_requests);
    std::vector<std::pair<int64_t, int64_t>> ended;
    while (true) {
      LONGHAND_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
      if (!has_row) break;
      ended.emplace_back(rows.Int(0), rows.Int(1));
    }
    for (const auto& [key, ended_at] : ended) {
      LONGHAND_ASSIGN_OR_RETURN(const int64_t size_bytes, SizeBytes());
      if (ended_at > oldest && size_bytes <= retention.max_bytes) break;
      LONGHAND_RETURN_IF_ERROR(Forget({.key = key}, 0));
    }
    return database_.Execute("PRAGMA incremental_vacuum");
  });
}

Result<int64_t> Store::SizeBytes() {
  LONGHAND_ASSIGN_OR_RETURN(
      Statement pages,
      database_.Prepare("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, "
                        "pragma_freelist_count, pragma_page_size"));
  LONGHAND_RETURN_IF_ERROR(pages.Step().status());
  return pages.Int(0);
}

Status Store::InTransaction(const std::function<Status()>& body) {
  LONGHAND_RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
  Status status = body();
  if (status.ok()) status = database_.Execute("COMMIT");
  if (status.ok()) return status;
  // SQLite has rolled back by itself after some errors; then there is nothing to do.
  (void)database_.Execute("ROLLBACK");
  return status;
}

}  // namespace longhand::journal
