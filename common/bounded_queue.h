// BoundedQueue<T>: messages between threads. A full queue refuses at once; only the reader waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "common/status.h"

namespace longhand {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // kResourceExhausted when full, kUnavailable when closed; then the item stays where it is. Any
  // thread.
  Status Push(T&& item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return Unavailable("the queue is closed");
      if (items_.size() >= capacity_) {
        return ResourceExhausted("the queue is full: ", capacity_, " messages wait");
      }
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return OkStatus();
  }

  // The oldest message; waits for one. Nothing once the queue is closed and empty.
  std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return closed_ || !items_.empty(); });
    return TakeFront();
  }

  // As Pop, but also returns nothing when `timeout` has passed.
  std::optional<T> PopFor(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, timeout, [&] { return closed_ || !items_.empty(); });
    return TakeFront();
  }

  std::optional<T> TryPop() {
    std::lock_guard lock(mutex_);
    return TakeFront();
  }

  // Wakes every reader; what is queued can still be popped.
  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  std::optional<T> TakeFront() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace longhand
