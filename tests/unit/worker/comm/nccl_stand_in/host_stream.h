// HostStream: what a stream of a device is to the host, on a thread. Work runs in order, some time
// after it was enqueued.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/worker/comm/nccl_stand_in/nccl_stand_in.h"
#include "worker/comm/device_stream.h"
#include "worker/comm/rank_order_sum.h"

namespace longhand::comm {

class HostStream {
 public:
  HostStream() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  void Enqueue(std::function<void()> work) {
    {
      std::lock_guard lock(mutex_);
      work_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

 private:
  void Run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return !work_.empty(); })) {
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> work_;
  std::jthread thread_;  // last: it uses all of the above
};

// A device in host memory.
class HostDeviceStream final : public DeviceStream {
 public:
  Status UseOnThread() override {
    nccl_stand_in::UseOnThread();
    return OkStatus();
  }
  void* handle() override { return &stream_; }

  Result<std::unique_ptr<DeviceMemory>> Allocate(size_t bytes) override {
    struct HostMemory final : DeviceMemory {
      explicit HostMemory(size_t bytes) : bytes(bytes) {}
      std::byte* data() override { return bytes.data(); }
      std::vector<std::byte> bytes;
    };
    return std::unique_ptr<DeviceMemory>(std::make_unique<HostMemory>(bytes));
  }

  Status Sum(const void* operands, int num_ranks, DType dtype, int64_t count, void* out) override {
    stream_.Enqueue([=] {
      std::vector<const void*> rows;
      const size_t row_bytes = static_cast<size_t>(count) * DTypeSize(dtype);
      for (size_t r = 0; r < static_cast<size_t>(num_ranks); ++r) {
        rows.push_back(static_cast<const std::byte*>(operands) + r * row_bytes);
      }
      SumInRankOrder(rows, dtype, count, out);
    });
    return OkStatus();
  }

  Status Copy(void* to, const void* from, size_t bytes) override {
    stream_.Enqueue([=] { std::memcpy(to, from, bytes); });
    return OkStatus();
  }

  Status Mark() override {
    reached_ = std::make_shared<std::atomic<bool>>(false);
    stream_.Enqueue([reached = reached_] { *reached = true; });
    return OkStatus();
  }

  Result<bool> Reached() override { return reached_->load(); }

 private:
  std::shared_ptr<std::atomic<bool>> reached_;
  HostStream stream_;
};

}  // namespace longhand::comm
