// Journal: what must survive, written before it is sent.
//
// Entries are queued from any thread and written by one of the journal's own, all that wait in one
// transaction. What an entry lets out (`done`) runs on that thread once the entry is on disk, in
// the order of the queue. While the disk refuses, nothing is let out and nothing forgotten: the
// same batch is tried again until it can be written; health() says why, and whoever feeds the
// journal holds back. A disk that does not answer at all refuses too, until it does; and one that
// is nearly full is looked for while nothing is written.
//
// A store that cannot be opened yet is tried again as well: until then health() says why, and what
// is queued waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/metrics.h"
#include "common/status.h"
#include "coordinator/journal/store.h"

namespace longhand::journal {

struct JournalConfig {
  Retention retention;
  std::chrono::milliseconds retry_interval = std::chrono::milliseconds(200);
  // Between two looks at the disk's room, and at what may be forgotten.
  std::chrono::milliseconds look_interval = std::chrono::seconds(1);
  // A write that takes longer is a disk that hangs.
  std::chrono::milliseconds hangs_after = std::chrono::milliseconds(1000);
};

class Journal {
 public:
  using Done = std::function<void()>;
  using Open = std::function<Result<std::unique_ptr<Store>>()>;
  // What the store was opened with.
  struct Opened {
    std::vector<StoredRequest> unfinished;
    int64_t num_lost_records = 0;
  };

  Journal(const JournalConfig& config, std::unique_ptr<Store> store, Metrics& metrics);
  // Of a store that `open` could not open, for the reason given.
  Journal(const JournalConfig& config, Open open, const Status& why, Metrics& metrics);
  ~Journal() { Stop(); }
  // What is queued is written first, unless the disk refuses. What comes later is not.
  void Stop();

  // Any thread. `done` (may be empty) must not block.
  void Append(Entry entry, Done done);

  // Any thread: entries that are not on disk yet. The engine stops planning when they are many.
  size_t backlog() const;
  // Any thread: OK, or why nothing new may be begun: the latest attempt to write failed or does not
  // come back, the disk has no room, the store is not open or what it holds was not taken.
  Status health() const;
  // Once, when the store has been opened late: what is in it. Nothing before and after.
  std::optional<Opened> TakeOpened();
  // Any thread that may wait: whether the disk has room for a request of so many bytes, if need be
  // for the price of others that are over. kResourceExhausted with the numbers if not,
  // kInvalidArgument beyond Store::kMaxPayloadBytes.
  Status CheckRoom(int64_t num_bytes);

 private:
  Journal(const JournalConfig& config,
          std::unique_ptr<Store> store,
          Open open,
          const Status& why,
          Metrics& metrics);

  struct Queued {
    Entry entry;
    Done done;
  };

  struct RoomQuestion {
    int64_t num_bytes = 0;
    std::promise<Status> answer;
  };

  void Run();
  // False when the journal was told to stop first.
  bool OpenStore();
  // False when the journal was told to stop while the disk refused.
  bool WriteBatch(std::vector<Queued> batch);
  // Sees to it that there is room. Whether there may be more to forget.
  bool Look();
  // Calls `access`, and notes meanwhile since when it runs.
  Status Touch(const std::function<Status()>& access);
  void SetStatus(Status* which, const Status& status);
  // For ages: it never jumps, and none of the file's is later.
  WallTime Now() const;
  void ShowRoom();
  // Whether the journal was told to stop meanwhile.
  bool WaitForRetry(std::chrono::milliseconds interval);

  const JournalConfig config_;
  const Open open_;               // of one that came late
  std::unique_ptr<Store> store_;  // the journal's thread; null until it is open
  int64_t num_forgotten_shown_ = 0;
  WallTime began_;  // at steady_began_
  std::chrono::steady_clock::time_point steady_began_;
  Counter& batches_;
  Counter& entries_;
  Counter& failures_;
  Gauge& backlog_gauge_;
  Gauge& bytes_;
  Gauge& available_bytes_;
  Counter& forgotten_early_;
  Gauge& healthy_;
  Histogram& write_seconds_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  size_t num_writing_ = 0;
  std::vector<RoomQuestion> room_questions_;
  std::optional<Opened> opened_;  // until it is taken
  bool stopping_ = false;
  Status write_status_;  // of the latest attempt
  Status room_status_;   // of the latest look
  std::optional<std::chrono::steady_clock::time_point>
      touched_at_;  // the disk, which has not answered
  std::thread thread_;
};

}  // namespace longhand::journal
