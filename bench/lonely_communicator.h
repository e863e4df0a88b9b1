// LonelyCommunicator: a rank of a group whose others are not there.
#pragma once

#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/device_tensor.h"

namespace longhand::bench {

// Sums are its own part, and what it gathers is its own part again and again.
class LonelyCommunicator final : public comm::Communicator {
 public:
  LonelyCommunicator(int size, kernels::Ops& ops) : size_(size), ops_(ops) {}

  int rank() const override { return 0; }
  int size() const override { return size_; }
  Status AllReduceSum(TensorView) override { return OkStatus(); }
  Status AllGather(TensorView local, TensorView all) override {
    // Logits are gathered: [rows, padded vocabulary] of this rank. The other ranks' stay what they
    // were.
    const TensorView from = model::Reshape(local, {1, local.num_elements()});
    if (zero_.view.empty()) {
      LONGHAND_ASSIGN_OR_RETURN(zero_, model::AllocateTensor(ops_, DType::kI32, {1}));
    }
    return ops_.GatherRows(
        {.x = from, .rows = zero_.view, .out = model::Reshape(all, {1, local.num_elements()})});
  }
  Status Broadcast(TensorView, int) override { return OkStatus(); }
  Status Barrier() override { return OkStatus(); }
  Status Synchronize() override { return OkStatus(); }
  bool CanBeRecorded(size_t) const override { return true; }
  void Abort() override {}

 private:
  const int size_;
  kernels::Ops& ops_;
  model::DeviceTensor zero_;
};

}  // namespace longhand::bench
