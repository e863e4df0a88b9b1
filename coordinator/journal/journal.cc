#include "coordinator/journal/journal.h"

#include <chrono>
#include <utility>

namespace longhand::journal {
namespace {

WallTime Now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace

Journal::Journal(const JournalConfig& config, std::unique_ptr<Store> store, Metrics& metrics)
    : config_(config),
      store_(std::move(store)),
      batches_(metrics.GetCounter("longhand_journal_batches_total")),
      entries_(metrics.GetCounter("longhand_journal_entries_total")),
      failures_(metrics.GetCounter("longhand_journal_failures_total")),
      backlog_gauge_(metrics.GetGauge("longhand_journal_backlog")),
      bytes_(metrics.GetGauge("longhand_journal_bytes")),
      healthy_(metrics.GetGauge("longhand_journal_healthy")),
      write_seconds_(metrics.GetHistogram("longhand_journal_write_seconds")),
      thread_([this] { Run(); }) {}

void Journal::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Journal::Append(Entry entry, Done done) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back({std::move(entry), std::move(done)});
  }
  changed_.notify_one();
}

size_t Journal::backlog() const {
  std::lock_guard lock(mutex_);
  return queue_.size() + num_writing_;
}

Status Journal::health() const {
  using std::chrono::milliseconds;
  std::lock_guard lock(mutex_);
  if (touched_at_.has_value()) {
    const auto taken = std::chrono::steady_clock::now() - *touched_at_;
    if (taken > config_.hangs_after) {
      return Unavailable("the disk has not answered for ",
                         std::chrono::duration_cast<milliseconds>(taken).count(), " ms");
    }
  }
  return health_;
}

void Journal::Run() {
  auto next_prune = std::chrono::steady_clock::now();
  while (true) {
    std::vector<Queued> batch;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, next_prune, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_ && queue_.empty()) return;
      batch.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
      queue_.clear();
      num_writing_ = batch.size();
    }
    if (!batch.empty()) WriteBatch(std::move(batch));
    // What ended since the last time may be more than one transaction forgets.
    if (std::chrono::steady_clock::now() >= next_prune && !Prune())
      next_prune = std::chrono::steady_clock::now() + config_.prune_interval;
  }
}

void Journal::WriteBatch(std::vector<Queued> batch) {
  std::vector<Entry> entries;
  entries.reserve(batch.size());
  for (Queued& queued : batch) entries.push_back(std::move(queued.entry));
  backlog_gauge_.Set(static_cast<double>(entries.size()));
  while (true) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = Touch([&] { return store_->Write(entries, Now()); });
    if (status.ok()) {
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      write_seconds_.Observe(taken.count());
      break;
    }
    failures_.Increment();
    if (WaitForRetry()) return;
  }
  batches_.Increment();
  entries_.Increment(static_cast<double>(entries.size()));
  backlog_gauge_.Set(0);
  {
    std::lock_guard lock(mutex_);
    num_writing_ = 0;
  }
  for (const Queued& queued : batch) {
    if (queued.done) queued.done();
  }
}

bool Journal::Prune() {
  Result<bool> has_more = false;
  (void)Touch([&] {
    has_more = store_->Prune(config_.retention, Now());
    return has_more.status();
  });
  const Result<int64_t> bytes = store_->SizeBytes();
  if (bytes.ok()) bytes_.Set(static_cast<double>(*bytes));
  return has_more.ok() && *has_more;
}

Status Journal::Touch(const std::function<Status()>& access) {
  {
    std::lock_guard lock(mutex_);
    touched_at_ = std::chrono::steady_clock::now();
  }
  Status status = access();
  healthy_.Set(status.ok() ? 1 : 0);
  std::lock_guard lock(mutex_);
  touched_at_.reset();
  health_ = status;
  return status;
}

bool Journal::WaitForRetry() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, config_.retry_interval, [&] { return stopping_; });
}

}  // namespace longhand::journal
