#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include "common/check.h"

namespace longhand::kernels::cpu {
namespace {

// About 30 microseconds: longer than the gap between two operations of a step, shorter than what a
// process that shares the core would miss.
constexpr int kSpins = 600;
constexpr uint64_t kTaskMask = 0xffffffffu;

std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// A refusal changes speed only.
void Pin(std::thread& thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  (void)pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  LONGHAND_CHECK(num_threads >= 1) << num_threads;
  const std::vector<int> cores = AllowedCores();
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { WorkerLoop(thread); });
    if (static_cast<int>(cores.size()) == num_threads) Pin(workers_.back(), cores[thread]);
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunJob(int64_t num_tasks, TaskFn fn, void* context) {
  LONGHAND_CHECK(num_tasks <= static_cast<int64_t>(kTaskMask)) << num_tasks;
  fn_ = fn;
  context_ = context;
  num_tasks_ = num_tasks;
  num_done_.store(0, std::memory_order_relaxed);
  const uint64_t job = job_.load(std::memory_order_relaxed) + uint64_t{1};
  unclaimed_.store(job << 32 | static_cast<uint64_t>(num_tasks), std::memory_order_release);
  // Sequentially consistent with WaitForJob: either the worker sees the new job, or we see the
  // worker asleep.
  job_.fetch_add(1);
  if (num_sleeping_.load() > 0) job_.notify_all();

  TakeTasks(/*thread=*/0);
  for (int spins = 0; num_done_.load(std::memory_order_acquire) < num_tasks; ++spins) {
    _mm_pause();
    // Who holds the last task may need this very core.
    if (spins > kSpins) sched_yield();
  }
}

void ThreadPool::TakeTasks(int thread) {
  uint64_t state = unclaimed_.load(std::memory_order_acquire);
  while ((state & kTaskMask) != 0) {
    if (!unclaimed_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
      continue;
    }
    const int64_t task = num_tasks_ - static_cast<int64_t>(state & kTaskMask);
    fn_(context_, task, thread);
    num_done_.fetch_add(1, std::memory_order_release);
    state = unclaimed_.load(std::memory_order_acquire);
  }
}

void ThreadPool::WaitForJob(uint32_t seen) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (job_.load(std::memory_order_acquire) != seen) return;
    _mm_pause();
  }
  num_sleeping_.fetch_add(1);
  while (job_.load() == seen) job_.wait(seen);
  num_sleeping_.fetch_sub(1);
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  while (true) {
    WaitForJob(seen);
    seen = job_.load();
    if (stop_.load()) return;
    TakeTasks(thread);
  }
}

}  // namespace longhand::kernels::cpu
