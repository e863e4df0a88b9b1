// AbsentGroup: the place in a group that is not formed yet; no call reaches a peer.
#pragma once

#include "worker/comm/communicator.h"

namespace longhand::service {

class AbsentGroup final : public comm::Communicator {
 public:
  AbsentGroup(int rank, int size) : rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Status AllReduceSum(TensorView) override { return NoGroup(); }
  Status AllGather(TensorView, TensorView) override { return NoGroup(); }
  Status Broadcast(TensorView, int) override { return NoGroup(); }
  Status Barrier() override { return NoGroup(); }
  Status Synchronize() override { return NoGroup(); }
  void Abort() override {}

 private:
  static Status NoGroup() { return FailedPrecondition("the group is not formed yet"); }

  const int rank_;
  const int size_;
};

}  // namespace longhand::service
