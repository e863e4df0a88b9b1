// WatchedCommunicator: passes calls on, and says meanwhile that it is the peers' turn.
#pragma once

#include <memory>
#include <utility>

#include "worker/comm/communicator.h"
#include "worker/service/progress.h"

namespace longhand::service {

class WatchedCommunicator final : public comm::Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<comm::Communicator> inner, Progress& progress)
      : inner_(std::move(inner)), progress_(progress) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status AllReduceSum(TensorView data) override {
    const Progress::Wait wait(progress_);
    return inner_->AllReduceSum(data);
  }
  bool FusesNorm(const TensorView& data) const override { return inner_->FusesNorm(data); }
  Status AllReduceSumNorm(const comm::SumNormArgs& args) override {
    const Progress::Wait wait(progress_);
    return inner_->AllReduceSumNorm(args);
  }
  Status AllGather(TensorView local, TensorView all) override {
    const Progress::Wait wait(progress_);
    return inner_->AllGather(local, all);
  }
  Status Broadcast(TensorView data, int root) override {
    const Progress::Wait wait(progress_);
    return inner_->Broadcast(data, root);
  }
  Status Barrier() override {
    const Progress::Wait wait(progress_);
    return inner_->Barrier();
  }
  // The device's work too: whose turn it is cannot be told.
  Status Synchronize() override { return inner_->Synchronize(); }
  bool CanBeRecorded(size_t max_bytes) const override { return inner_->CanBeRecorded(max_bytes); }
  void Abort() override { inner_->Abort(); }

 private:
  const std::unique_ptr<comm::Communicator> inner_;
  Progress& progress_;
};

}  // namespace longhand::service
