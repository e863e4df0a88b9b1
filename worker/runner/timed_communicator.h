// TimedCommunicator: passes calls on and adds up the time that they take.
#pragma once

#include <chrono>
#include <cstdint>

#include "worker/comm/communicator.h"

namespace longhand::runner {

class TimedCommunicator final : public comm::Communicator {
 public:
  explicit TimedCommunicator(comm::Communicator& inner) : inner_(inner) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  Status AllReduceSum(TensorView data) override {
    const Span span(&elapsed_);
    return inner_.AllReduceSum(data);
  }
  bool FusesNorm(const TensorView& data) const override { return inner_.FusesNorm(data); }
  Status AllReduceSumNorm(const comm::SumNormArgs& args) override {
    const Span span(&elapsed_);
    return inner_.AllReduceSumNorm(args);
  }
  Status AllGather(TensorView local, TensorView all) override {
    const Span span(&elapsed_);
    return inner_.AllGather(local, all);
  }
  Status Broadcast(TensorView data, int root) override {
    const Span span(&elapsed_);
    return inner_.Broadcast(data, root);
  }
  Status Barrier() override {
    const Span span(&elapsed_);
    return inner_.Barrier();
  }
  // Not timed: what it waits for is the device's work, not the peers'.
  Status Synchronize() override { return inner_.Synchronize(); }
  Result<bool> HasDone(const Reached& reached, TimePoint since) override {
    return inner_.HasDone(reached, since);
  }
  bool CanBeRecorded(size_t max_bytes) const override { return inner_.CanBeRecorded(max_bytes); }
  int64_t DeviceBytes() const override { return inner_.DeviceBytes(); }
  void Abort() override { inner_.Abort(); }

  int64_t elapsed_us() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(elapsed_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;

  class Span {
   public:
    explicit Span(Clock::duration* total) : total_(total), begin_(Clock::now()) {}
    ~Span() { *total_ += Clock::now() - begin_; }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Clock::duration* total_;
    Clock::time_point begin_;
  };

  comm::Communicator& inner_;
  Clock::duration elapsed_{};
};

}  // namespace longhand::runner
