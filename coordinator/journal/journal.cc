#include "coordinator/journal/journal.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace longhand::journal {

Journal::Journal(const JournalConfig& config, std::unique_ptr<Store> store, Metrics& metrics)
    : Journal(config, std::move(store), nullptr, OkStatus(), metrics) {}

Journal::Journal(const JournalConfig& config, Open open, const Status& why, Metrics& metrics)
    : Journal(config, nullptr, std::move(open), why, metrics) {}

Journal::Journal(const JournalConfig& config,
                 std::unique_ptr<Store> store,
                 Open open,
                 const Status& why,
                 Metrics& metrics)
    : config_(config),
      open_(std::move(open)),
      store_(std::move(store)),
      batches_(metrics.GetCounter("longhand_journal_batches_total")),
      entries_(metrics.GetCounter("longhand_journal_entries_total")),
      failures_(metrics.GetCounter("longhand_journal_failures_total")),
      backlog_gauge_(metrics.GetGauge("longhand_journal_backlog")),
      bytes_(metrics.GetGauge("longhand_journal_bytes")),
      available_bytes_(metrics.GetGauge("longhand_journal_disk_available_bytes")),
      forgotten_early_(metrics.GetCounter("longhand_journal_requests_forgotten_early_total")),
      healthy_(metrics.GetGauge("longhand_journal_healthy")),
      write_seconds_(metrics.GetHistogram("longhand_journal_write_seconds")),
      write_status_(why),
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
  if (opened_.has_value()) return Unavailable("what it holds is being read");
  return write_status_.ok() ? room_status_ : write_status_;
}

std::optional<Journal::Opened> Journal::TakeOpened() {
  std::lock_guard lock(mutex_);
  return std::exchange(opened_, std::nullopt);
}

Status Journal::CheckRoom(int64_t num_bytes) {
  if (num_bytes > Store::kMaxPayloadBytes) {
    return InvalidArgument("the request takes ", num_bytes, " bytes in the journal; at most ",
                           Store::kMaxPayloadBytes, " can be kept of one");
  }
  LONGHAND_RETURN_IF_ERROR(health());
  std::future<Status> answer;
  {
    std::lock_guard lock(mutex_);
    answer = room_questions_.emplace_back(RoomQuestion{num_bytes, {}}).answer.get_future();
  }
  changed_.notify_one();
  if (answer.wait_for(config_.hangs_after) == std::future_status::timeout)
    return Unavailable("the disk has not answered for ", config_.hangs_after.count(), " ms");
  return answer.get();
}

bool Journal::OpenStore() {
  while (store_ == nullptr) {
    failures_.Increment();
    // It may be long: every page is read.
    if (WaitForRetry(config_.look_interval)) return false;
    Result<std::unique_ptr<Store>> store = open_();
    if (!store.ok()) {
      SetStatus(&write_status_, store.status());
      continue;
    }
    store_ = std::move(store).value();
    {
      std::lock_guard lock(mutex_);
      opened_ = {store_->TakeUnfinished(), store_->num_lost_records()};
    }
    SetStatus(&write_status_, OkStatus());
  }
  return true;
}

WallTime Journal::Now() const {
  return std::chrono::floor<std::chrono::seconds>(
      began_ + (std::chrono::steady_clock::now() - steady_began_));
}

void Journal::Run() {
  if (!OpenStore()) return;
  steady_began_ = std::chrono::steady_clock::now();
  began_ = std::max(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()),
                    store_->LatestEnd());
  auto next_look = std::chrono::steady_clock::now();
  while (true) {
    std::vector<Queued> batch;
    std::vector<RoomQuestion> questions;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, next_look,
                          [&] { return stopping_ || !queue_.empty() || !room_questions_.empty(); });
      if (stopping_ && queue_.empty()) return;
      questions = std::exchange(room_questions_, {});
      batch.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
      queue_.clear();
      num_writing_ = batch.size();
    }
    for (RoomQuestion& question : questions)
      question.answer.set_value(Touch([&] { return store_->KeepRoom(question.num_bytes); }));
    // What comes after what the disk refused would not fit what is on it.
    if (!batch.empty() && !WriteBatch(std::move(batch))) return;
    // What ended since the last time may be more than one transaction forgets.
    if (std::chrono::steady_clock::now() >= next_look && !Look())
      next_look = std::chrono::steady_clock::now() + config_.look_interval;
  }
}

bool Journal::WriteBatch(std::vector<Queued> batch) {
  std::vector<Entry> entries;
  entries.reserve(batch.size());
  for (Queued& queued : batch) entries.push_back(std::move(queued.entry));
  backlog_gauge_.Set(static_cast<double>(entries.size()));
  while (true) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = Touch([&] { return store_->Write(entries, Now()); });
    SetStatus(&write_status_, status);
    if (status.ok()) {
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      write_seconds_.Observe(taken.count());
      break;
    }
    failures_.Increment();
    ShowRoom();
    if (WaitForRetry(config_.retry_interval)) return false;
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
  return true;
}

bool Journal::Look() {
  Result<bool> has_more = false;
  SetStatus(&room_status_, Touch([&]() -> Status {
    has_more = store_->Prune(config_.retention, Now());
    LONGHAND_RETURN_IF_ERROR(store_->KeepRoom());
    return has_more.status();
  }));
  ShowRoom();
  return has_more.ok() && *has_more;
}

void Journal::ShowRoom() {
  const int64_t num_forgotten = store_->num_forgotten_for_room();
  forgotten_early_.Increment(
      static_cast<double>(num_forgotten - std::exchange(num_forgotten_shown_, num_forgotten)));
  const Result<int64_t> bytes = store_->SizeBytes();
  if (bytes.ok()) bytes_.Set(static_cast<double>(*bytes));
  const Result<int64_t> available = store_->AvailableBytes();
  if (available.ok()) available_bytes_.Set(static_cast<double>(*available));
}

Status Journal::Touch(const std::function<Status()>& access) {
  {
    std::lock_guard lock(mutex_);
    touched_at_ = std::chrono::steady_clock::now();
  }
  Status status = access();
  std::lock_guard lock(mutex_);
  touched_at_.reset();
  return status;
}

void Journal::SetStatus(Status* which, const Status& status) {
  std::lock_guard lock(mutex_);
  *which = status;
  healthy_.Set(write_status_.ok() && room_status_.ok() ? 1 : 0);
}

bool Journal::WaitForRetry(std::chrono::milliseconds interval) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, interval, [&] { return stopping_; });
}

}  // namespace longhand::journal
