#include "coordinator/api/event_stream.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace longhand::api {

void EventStream::Accept() {
  {
    std::lock_guard lock(mutex_);
    accepted_ = true;
  }
  WakeReaders();
}

void EventStream::Publish(v1::GenerateEvent event) {
  {
    std::lock_guard lock(mutex_);
    LONGHAND_CHECK_EQ(event.seq(), static_cast<int64_t>(events_.size()) + 1);
    events_.push_back(std::move(event));
  }
  WakeReaders();
}

void EventStream::End(const Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (end_) return;
    end_ = status;
  }
  WakeReaders();
}

void EventStream::WakeReaders() {
  std::vector<std::shared_ptr<Reader>> readers;
  {
    std::lock_guard lock(mutex_);
    readers = readers_;
  }
  for (const auto& reader : readers) reader->OnMore();
}

void EventStream::SetAbandon(std::function<void()> abandon) {
  std::lock_guard lock(mutex_);
  abandon_ = std::move(abandon);
}

void EventStream::SetCancel(std::function<bool()> cancel) {
  std::lock_guard lock(mutex_);
  cancel_ = std::move(cancel);
}

void EventStream::ExpectReader(TimePoint due) {
  std::lock_guard lock(mutex_);
  reader_due_ = due;
}

void EventStream::AbandonIfUnread(TimePoint now) {
  std::function<void()> abandon;
  {
    std::lock_guard lock(mutex_);
    if (end_ || now < reader_due_) return;
    reader_due_ = TimePoint::max();
    abandon = abandon_;
  }
  if (abandon) abandon();
}

EventStream::Next EventStream::Look(int64_t seq) const {
  std::lock_guard lock(mutex_);
  if (seq <= static_cast<int64_t>(events_.size()))
    return {.event = &events_[static_cast<size_t>(seq - 1)], .accepted = accepted_};
  return {.end = end_, .accepted = accepted_};
}

int64_t EventStream::num_events() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(events_.size());
}

void EventStream::Join(std::shared_ptr<Reader> reader) {
  std::lock_guard lock(mutex_);
  reader_due_ = TimePoint::max();
  readers_.push_back(std::move(reader));
}

void EventStream::Leave(const Reader& reader) {
  std::shared_ptr<Reader> left;  // not destroyed under the mutex
  std::function<void()> abandon;
  {
    std::lock_guard lock(mutex_);
    const auto found = std::find_if(readers_.begin(), readers_.end(),
                                    [&](const auto& each) { return each.get() == &reader; });
    if (found == readers_.end()) return;
    left = std::move(*found);
    readers_.erase(found);
    if (readers_.empty() && !end_) abandon = abandon_;
  }
  if (abandon) abandon();
}

bool EventStream::Cancel() {
  std::function<bool()> cancel;
  {
    std::lock_guard lock(mutex_);
    cancel = cancel_;
  }
  return cancel && cancel();
}

}  // namespace longhand::api
