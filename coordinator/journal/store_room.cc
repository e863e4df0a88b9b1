// What the store forgets: when it may, and when the disk has no room otherwise.
#include <algorithm>

#include "coordinator/journal/store.h"

namespace longhand::journal {
namespace {

// With less, requests that are over make room.
constexpr int64_t kWantedRoom = 1 << 20;
// While the disk is full a transaction must do with the reserve: a request's records and pages
// touch some twenty pages, a page that moves three.
constexpr int64_t kRequestsAtOnce = 8;
constexpr int64_t kPagesAtOnce = 32;
// Otherwise it only must not keep others waiting.
constexpr int64_t kMaxRequestsPruned = 100;
constexpr int64_t kMaxPagesGivenBack = 256;

// A transaction of so many bytes takes them in the log, and then in the file.
int64_t LeastFor(int64_t num_bytes) { return Store::kLeastRoom + 2 * num_bytes; }
int64_t WantedFor(int64_t num_bytes) { return std::max(kWantedRoom, LeastFor(num_bytes)); }

}  // namespace

Status Store::KeepRoom(int64_t num_bytes) {
  LONGHAND_RETURN_IF_ERROR(database_.CheckPlace());
  const Status reserved = reserve_.Take();
  if (!reserved.ok() && reserved.code() != StatusCode::kResourceExhausted) return reserved;
  LONGHAND_ASSIGN_OR_RETURN(const int64_t available, AvailableBytes());
  if (reserved.ok() && available >= WantedFor(num_bytes)) return OkStatus();
  return MakeRoom(num_bytes);
}

// What the log holds goes to the file first: then its own space is free. The reserve is given up
// where that is not enough, and forgetting may be.
Status Store::MakeRoom(int64_t num_bytes) {
  bool may_help = true;
  if (reserve_.is_held() && Checkpoint().ok()) {
    LONGHAND_ASSIGN_OR_RETURN(const int64_t available, AvailableBytes());
    LONGHAND_ASSIGN_OR_RETURN(const int64_t size, SizeBytes());
    LONGHAND_ASSIGN_OR_RETURN(const bool has_ended, HasEnded());
    may_help =
        has_ended && available < WantedFor(num_bytes) && available + size >= LeastFor(num_bytes);
  }
  if (may_help) {
    reserve_.GiveUp();
    ForgetUntil(DiskReserve::kBytes + WantedFor(num_bytes));
    const Status reserved = reserve_.Take();
    if (reserved.code() == StatusCode::kResourceExhausted)
      return reserve_.Full(DiskReserve::kBytes + LeastFor(num_bytes));
    LONGHAND_RETURN_IF_ERROR(reserved);
  }
  LONGHAND_ASSIGN_OR_RETURN(const int64_t available, AvailableBytes());
  return available < LeastFor(num_bytes) ? reserve_.Full(LeastFor(num_bytes)) : OkStatus();
}

// As far as it gets: whoever needs the room sees what there is.
void Store::ForgetUntil(int64_t available_bytes) {
  const auto is_enough = [&] {
    const Result<int64_t> available = AvailableBytes();
    return !available.ok() || *available >= available_bytes;
  };
  (void)Checkpoint();
  while (!is_enough()) {
    const Result<bool> has_pages = GiveBackPages(kPagesAtOnce);
    if (!has_pages.ok()) return;
    if (!*has_pages) {
      const Result<int64_t> num_forgotten =
          ForgetOldest(kRequestsAtOnce, [](int64_t, int64_t) { return true; });
      if (!num_forgotten.ok() || *num_forgotten == 0) return;
      num_forgotten_for_room_ += *num_forgotten;
    }
    (void)Checkpoint();
  }
}

Result<bool> Store::Prune(const Retention& retention, WallTime now) {
  const int64_t oldest = (now - retention.max_age).time_since_epoch().count();
  LONGHAND_ASSIGN_OR_RETURN(
      const int64_t num_forgotten,
      ForgetOldest(kMaxRequestsPruned, [&](int64_t ended_at, int64_t size_bytes) {
        return ended_at <= oldest || size_bytes > retention.max_bytes;
      }));
  LONGHAND_ASSIGN_OR_RETURN(const bool has_pages, GiveBackPages(kMaxPagesGivenBack));
  return has_pages || num_forgotten == kMaxRequestsPruned;
}

// One transaction.
Result<int64_t> Store::ForgetOldest(int64_t max_requests, const MayForget& may_forget) {
  int64_t num_forgotten = 0;
  LONGHAND_RETURN_IF_ERROR(InTransaction([&]() -> Status {
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
      if (!may_forget(ended_at, size_bytes)) break;
      LONGHAND_RETURN_IF_ERROR(Forget(key));
      ++num_forgotten;
    }
    return OkStatus();
  }));
  return num_forgotten;
}

Result<bool> Store::HasEnded() {
  LONGHAND_ASSIGN_OR_RETURN(
      Statement ended,
      database_.Prepare("SELECT EXISTS (SELECT 1 FROM requests WHERE ended_at IS NOT NULL)"));
  LONGHAND_RETURN_IF_ERROR(ended.Step().status());
  return ended.Int(0) != 0;
}

Result<bool> Store::GiveBackPages(int64_t max_pages) {
  LONGHAND_ASSIGN_OR_RETURN(int64_t num_left, NumFreePages());
  const int64_t enough = std::max<int64_t>(0, num_left - max_pages);
  while (num_left > enough) {
    LONGHAND_RETURN_IF_ERROR(
        database_.Execute("PRAGMA incremental_vacuum(" + std::to_string(kPagesAtOnce) + ")"));
    const int64_t num_before = num_left;
    LONGHAND_ASSIGN_OR_RETURN(num_left, NumFreePages());
    if (num_left == num_before) return false;  // The file was not made to be vacuumed.
  }
  return num_left > 0;
}

Result<int64_t> Store::NumFreePages() {
  LONGHAND_ASSIGN_OR_RETURN(Statement count, database_.Prepare("PRAGMA freelist_count"));
  LONGHAND_RETURN_IF_ERROR(count.Step().status());
  return count.Int(0);
}

Status Store::Checkpoint() { return database_.Execute("PRAGMA wal_checkpoint(TRUNCATE)"); }

WallTime Store::LatestEnd() {
  Result<Statement> latest = database_.Prepare("SELECT max(ended_at) FROM requests");
  const bool is_read = latest.ok() && latest->Step().ok();
  return WallTime(std::chrono::seconds(is_read ? latest->Int(0) : 0));
}

Result<int64_t> Store::SizeBytes() {
  LONGHAND_ASSIGN_OR_RETURN(
      Statement pages,
      database_.Prepare("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, "
                        "pragma_freelist_count, pragma_page_size"));
  LONGHAND_RETURN_IF_ERROR(pages.Step().status());
  return pages.Int(0);
}

}  // namespace longhand::journal
