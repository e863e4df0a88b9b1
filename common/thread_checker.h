// ThreadChecker: asserts that a class is used by the one thread that owns it.
#pragma once

#include <atomic>
#include <thread>

#include "common/check.h"

namespace longhand {

// Binds to the first thread that calls Check(). Detach() lets another thread take over, after a hand-over that is
// itself synchronised (thread start, queue).
class ThreadChecker {
 public:
  void Check() const {
    const std::thread::id self = std::this_thread::get_id();
    std::thread::id none;
    if (owner_.compare_exchange_strong(none, self)) return;
    LONGHAND_CHECK(none == self) << "called from a thread that does not own this object";
  }
  void Detach() { owner_ = std::thread::id(); }

 private:
  mutable std::atomic<std::thread::id> owner_{};
};

}  // namespace longhand
