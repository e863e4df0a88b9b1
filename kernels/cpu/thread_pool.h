// ThreadPool: runs the tasks of one operation on the calling thread and a few workers.
//
// Made for many short operations in a row, on cores that several processes may share: workers look
// for the next operation for some microseconds, then sleep; and the caller never waits for a worker
// that has not begun a task.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace longhand::kernels::cpu {

class ThreadPool {
 public:
  // `num_threads` counts the caller. Workers are pinned to a core each when the process may use
  // exactly as many cores as it has threads; otherwise the system places them.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }
  // Changes whenever a task begins. Any thread.
  uint64_t work_mark() const {
    return num_alone_.load(std::memory_order_relaxed) + unclaimed_.load(std::memory_order_relaxed);
  }

  // Calls fn(task, thread) for each task in [0, num_tasks), lower ones first, with thread in [0,
  // num_threads); returns when all are done. One caller at a time.
  template <typename Fn>
  void Run(int64_t num_tasks, Fn&& fn) {
    if (num_tasks <= 1 || workers_.empty()) {
      for (int64_t task = 0; task < num_tasks; ++task) {
        num_alone_.store(num_alone_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        fn(task, 0);
      }
      return;
    }
    RunJob(
        num_tasks,
        [](void* context, int64_t task, int thread) {
          (*static_cast<std::remove_reference_t<Fn>*>(context))(task, thread);
        },
        &fn);
  }

 private:
  using TaskFn = void (*)(void* context, int64_t task, int thread);

  void RunJob(int64_t num_tasks, TaskFn fn, void* context);
  void WorkerLoop(int thread);
  // Takes tasks of the current job until none is left.
  void TakeTasks(int thread);
  void WaitForJob(uint32_t seen);

  // The job; stable from the claim of one of its tasks until that task is done.
  TaskFn fn_ = nullptr;
  void* context_ = nullptr;
  int64_t num_tasks_ = 0;

  std::atomic<uint64_t> num_alone_{0};  // tasks that needed no other thread; the caller writes
  // Job number in the upper half, tasks not yet claimed in the lower one: a claim cannot mix up two
  // jobs.
  alignas(64) std::atomic<uint64_t> unclaimed_{0};
  alignas(64) std::atomic<int64_t> num_done_{0};
  alignas(64) std::atomic<uint32_t> job_{
      0};  // raised for each job, and to stop; workers sleep on it
  std::atomic<int> num_sleeping_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace longhand::kernels::cpu
