// RankThread: one rank's executor thread, which owns everything that belongs to one thread.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "common/bounded_queue.h"
#include "common/check.h"

namespace longhand::parity {

class RankThread {
 public:
  RankThread() : thread_([this] { Run(); }) {}
  ~RankThread() {
    queue_.Close();
    thread_.join();
  }
  RankThread(const RankThread&) = delete;
  RankThread& operator=(const RankThread&) = delete;

  // Runs `work` on the thread; the future has what it returns.
  template <typename Work>
  auto Do(Work work) -> std::future<decltype(work())> {
    auto task = std::make_shared<std::packaged_task<decltype(work())()>>(std::move(work));
    const Status pushed = queue_.Push([task] { (*task)(); });
    LONGHAND_CHECK(pushed.ok()) << pushed;
    return task->get_future();
  }

 private:
  void Run() {
    while (auto work = queue_.Pop()) (*work)();
  }

  BoundedQueue<std::function<void()>> queue_{16};
  std::thread thread_;
};

}  // namespace longhand::parity
