// SingleRankCommunicator: a group of one. Nothing is exchanged.
#pragma once

#include <atomic>
#include <cstring>

#include "worker/comm/collective_checks.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_stream.h"

namespace longhand::comm {

class SingleRankCommunicator final : public Communicator {
 public:
  // `device`: where the tensors are; null for host memory.
  explicit SingleRankCommunicator(DeviceStream* device = nullptr) : device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }

  Status AllReduceSum(TensorView data) override {
    CheckAllReduce(data);
    return CheckAlive();
  }
  Status AllGather(TensorView local, TensorView all) override {
    CheckAllGather(local, all, size());
    LONGHAND_RETURN_IF_ERROR(CheckAlive());
    if (local.num_bytes() == 0 || local.data() == all.data()) return OkStatus();
    if (device_ != nullptr) return device_->Copy(all.data(), local.data(), local.num_bytes());
    std::memcpy(all.data(), local.data(), local.num_bytes());
    return OkStatus();
  }
  Status Broadcast(TensorView, int root) override {
    CheckRoot(root, size());
    return CheckAlive();
  }
  Status Barrier() override { return CheckAlive(); }
  Status Synchronize() override { return CheckAlive(); }
  Result<bool> HasDone(const Reached& reached, TimePoint) override {
    LONGHAND_RETURN_IF_ERROR(CheckAlive());
    return reached();
  }
  // There is nothing to be recorded.
  bool CanBeRecorded(size_t) const override { return true; }
  void Abort() override { aborted_ = true; }

 private:
  Status CheckAlive() const {
    return aborted_ ? Aborted("the communicator was aborted") : OkStatus();
  }

  DeviceStream* const device_;
  std::atomic<bool> aborted_{false};
};

}  // namespace longhand::comm
