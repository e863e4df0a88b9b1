// Progress: what a heartbeat tells of the thread that computes.
#pragma once

#include <atomic>
#include <cstdint>

namespace longhand::service {

// Written by the executor thread, read by any.
class Progress {
 public:
  // The thread turned: a task began, a collective came back, nothing was there to do.
  void Note() {
    turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  bool is_busy() const { return is_busy_.load(std::memory_order_relaxed); }
  bool waits_for_peers() const { return waits_for_peers_.load(std::memory_order_relaxed); }

  // While it lives, the thread is at work.
  class Work {
   public:
    explicit Work(Progress& progress) : progress_(progress) { Set(true); }
    ~Work() { Set(false); }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

   private:
    void Set(bool busy) {
      progress_.Note();
      progress_.is_busy_.store(busy, std::memory_order_relaxed);
    }
    Progress& progress_;
  };
  // While it lives, it is the peers' turn.
  class Wait {
   public:
    explicit Wait(Progress& progress) : progress_(progress) { Set(true); }
    ~Wait() { Set(false); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    void Set(bool waits) {
      progress_.Note();
      progress_.waits_for_peers_.store(waits, std::memory_order_relaxed);
    }
    Progress& progress_;
  };

 private:
  std::atomic<uint64_t> turns_{0};
  std::atomic<bool> is_busy_{false};
  std::atomic<bool> waits_for_peers_{false};
};

}  // namespace longhand::service
