// Journal: what must survive, written before it is sent.
//
// Entries are queued from any thread and written by one of the journal's own, all that wait in one
// transaction. What an entry lets out (`done`) runs on that thread once the entry is on disk, in
// the order of the queue. While the disk refuses, nothing is let out and nothing forgotten: the
// same batch is tried again until it can be written; health() says why, and whoever feeds the
// journal holds back. A disk that does not answer at all refuses too, until it does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
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
  std::chrono::milliseconds prune_interval = std::chrono::seconds(10);
  // A write that takes longer is a disk that hangs.
  std::chrono::milliseconds hangs_after = std::chrono::milliseconds(1000);
};

class Journal {
 public:
  using Done = std::function<void()>;

  Journal(const JournalConfig& config, std::unique_ptr<Store> store, Metrics& metrics);
  ~Journal() { Stop(); }
  // What is queued is written first, unless the disk refuses. What comes later is not.
  void Stop();

  // Any thread. `done` (may be empty) must not block.
  void Append(Entry entry, Done done);

  // Any thread: entries that are not on disk yet. The engine stops planning when they are many.
  size_t backlog() const;
  // Any thread: OK, or why the latest attempt to write failed or does not come back.
  Status health() const;

 private:
  struct Queued {
    Entry entry;
    Done done;
  };

  void Run();
  void WriteBatch(std::vector<Queued> batch);
  // Whether there may be more to forget.
  bool Prune();
  // Calls `access` and notes how it went, and meanwhile since when it runs.
  Status Touch(const std::function<Status()>& access);
  // Whether the journal was told to stop meanwhile.
  bool WaitForRetry();

  const JournalConfig config_;
  const std::unique_ptr<Store> store_;
  Counter& batches_;
  Counter& entries_;
  Counter& failures_;
  Gauge& backlog_gauge_;
  Gauge& bytes_;
  Gauge& healthy_;
  Histogram& write_seconds_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  size_t num_writing_ = 0;
  bool stopping_ = false;
  Status health_;
  std::optional<std::chrono::steady_clock::time_point>
      touched_at_;  // the disk, which has not answered
  std::thread thread_;
};

}  // namespace longhand::journal
