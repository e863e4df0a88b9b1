// Devices and communicators for tests of what is timed: calls do nothing but turn a clock.
#pragma once

#include <functional>

#include "common/clock.h"
#include "tests/unit/worker/comm/forwarding_peer_device.h"
#include "worker/comm/communicator.h"

namespace longhand::comm {

class PacedDevice final : public ForwardingPeerDevice {
 public:
  PacedDevice(PeerDevice& device, ManualClock& clock)
      : ForwardingPeerDevice(device), clock_(clock) {}

  bool IsTimed() const override { return true; }
  Status PeerReduce(const PeerReduceArgs& args) override {
    clock_.Advance(cost(args));
    return OkStatus();
  }
  Status NormSum(const PeerReduceArgs&) override {
    clock_.Advance(norm_cost);
    return OkStatus();
  }

  std::function<Duration(const PeerReduceArgs&)> cost;
  Duration norm_cost{};

 private:
  ManualClock& clock_;
};

class PacedCommunicator final : public Communicator {
 public:
  PacedCommunicator(int rank, int size, ManualClock& clock)
      : rank_(rank), size_(size), clock_(clock) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Status AllReduceSum(TensorView data) override {
    clock_.Advance(cost(data.num_bytes()));
    return OkStatus();
  }
  Status AllGather(TensorView, TensorView) override { return OkStatus(); }
  Status Broadcast(TensorView, int) override { return OkStatus(); }
  Status Barrier() override { return OkStatus(); }
  Status Synchronize() override { return OkStatus(); }
  void Abort() override {}

  std::function<Duration(size_t bytes)> cost;

 private:
  const int rank_, size_;
  ManualClock& clock_;
};

}  // namespace longhand::comm
