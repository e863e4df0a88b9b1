// SingleRankCommunicator: a group of one. Nothing is exchanged.
#pragma once

#include <atomic>
#include <cstring>

#include "worker/comm/collective_checks.h"
#include "worker/comm/communicator.h"

namespace longhand::comm {

class SingleRankCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  Status AllReduceSum(TensorView data) override {
    CheckAllReduce(data);
    return CheckAlive();
  }
  Status AllGather(TensorView local, TensorView all) override {
    CheckAllGather(local, all, size());
    LONGHAND_RETURN_IF_ERROR(CheckAlive());
    // memmove: a caller may gather in place.
    if (local.num_bytes() > 0) std::memmove(all.data(), local.data(), local.num_bytes());
    return OkStatus();
  }
  Status Broadcast(TensorView, int root) override {
    CheckRoot(root, size());
    return CheckAlive();
  }
  Status Barrier() override { return CheckAlive(); }
  void Abort() override { aborted_ = true; }

 private:
  Status CheckAlive() const {
    return aborted_ ? Aborted("the communicator was aborted") : OkStatus();
  }

  std::atomic<bool> aborted_{false};
};

}  // namespace longhand::comm
