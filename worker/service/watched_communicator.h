// WatchedCommunicator: passes calls on, says meanwhile that it is the peers' turn, and counts.
#pragma once

#include <chrono>
#include <memory>
#include <utility>

#include "worker/comm/communicator.h"
#include "worker/service/progress.h"
#include "worker/service/worker_metrics.h"

namespace longhand::service {

class WatchedCommunicator final : public comm::Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<comm::Communicator> inner,
                      Progress& progress,
                      const CollectiveMetrics& metrics)
      : inner_(std::move(inner)), progress_(progress), metrics_(metrics) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status AllReduceSum(TensorView data) override {
    const Progress::Wait wait(progress_);
    Count(metrics_.all_reduce, data);
    if (metrics_.all_reduce_seconds == nullptr) return inner_->AllReduceSum(data);
    const auto begin = std::chrono::steady_clock::now();
    Status status = inner_->AllReduceSum(data);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    metrics_.all_reduce_seconds->Observe(taken.count());
    return status;
  }
  bool FusesNorm(const TensorView& data) const override { return inner_->FusesNorm(data); }
  Status AllReduceSumNorm(const comm::SumNormArgs& args) override {
    const Progress::Wait wait(progress_);
    Count(metrics_.all_reduce, args.data);
    return inner_->AllReduceSumNorm(args);
  }
  Status AllGather(TensorView local, TensorView all) override {
    const Progress::Wait wait(progress_);
    Count(metrics_.all_gather, local);
    return inner_->AllGather(local, all);
  }
  Status Broadcast(TensorView data, int root) override {
    const Progress::Wait wait(progress_);
    Count(metrics_.broadcast, data);
    return inner_->Broadcast(data, root);
  }
  Status Barrier() override {
    const Progress::Wait wait(progress_);
    metrics_.barrier.calls->Increment();
    return inner_->Barrier();
  }
  // The device's work too: whose turn it is cannot be told.
  Status Synchronize() override { return inner_->Synchronize(); }
  Result<bool> HasDone(const Reached& reached, TimePoint since) override {
    return inner_->HasDone(reached, since);
  }
  bool CanBeRecorded(size_t max_bytes) const override { return inner_->CanBeRecorded(max_bytes); }
  int64_t DeviceBytes() const override { return inner_->DeviceBytes(); }
  void Abort() override { inner_->Abort(); }

 private:
  // A call that is recorded counts once, however often it is replayed.
  static void Count(const CollectiveMetrics::Operation& operation, const TensorView& data) {
    operation.calls->Increment();
    operation.bytes->Increment(static_cast<double>(data.num_bytes()));
  }

  const std::unique_ptr<comm::Communicator> inner_;
  Progress& progress_;
  const CollectiveMetrics metrics_;
};

}  // namespace longhand::service
