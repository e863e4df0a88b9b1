#include "worker/service/steady_timer.h"

#include <utility>

namespace longhand::service {

SteadyTimer::~SteadyTimer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SteadyTimer::After(std::chrono::milliseconds delay, std::function<void()> call) {
  {
    std::lock_guard lock(mutex_);
    calls_.emplace(std::chrono::steady_clock::now() + delay, std::move(call));
  }
  changed_.notify_all();
}

void SteadyTimer::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const TimePoint now = std::chrono::steady_clock::now();
    if (calls_.empty()) {
      changed_.wait(lock);
    } else if (calls_.begin()->first > now) {
      changed_.wait_for(lock, calls_.begin()->first - now);
    } else {
      auto due = calls_.extract(calls_.begin());
      lock.unlock();
      due.mapped()();
      due = {};  // What the call held may take the mutex of another.
      lock.lock();
    }
  }
}

}  // namespace longhand::service
