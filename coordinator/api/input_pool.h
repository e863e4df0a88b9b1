// InputPool: the threads that tokenise prompts and decode pictures, one prompt at a time each.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "common/bounded_queue.h"
#include "common/status.h"

namespace longhand::api {

class InputPool {
 public:
  InputPool(int num_threads, size_t max_waiting) : max_waiting_(max_waiting), jobs_(max_waiting) {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
  }
  // Runs what is queued, then ends the threads.
  ~InputPool() {
    jobs_.Close();
    for (std::thread& thread : threads_) thread.join();
  }

  // kResourceExhausted when too many prompts wait. Any thread.
  Status Submit(std::function<void()> job) {
    const Status status = jobs_.Push(std::move(job));
    if (status.code() != StatusCode::kResourceExhausted) return status;
    return ResourceExhausted(max_waiting_, " requests wait to be prepared; at most ", max_waiting_,
                             " may")
        .WithRetryAdvice(1);
  }

 private:
  void Run() {
    while (auto job = jobs_.Pop()) (*job)();
  }

  const size_t max_waiting_;
  BoundedQueue<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace longhand::api
