// ForwardingPeerDevice: another device, of which a test overrides some.
#pragma once

#include <memory>
#include <string>

#include "common/peer_group.h"

namespace longhand::comm {

class ForwardingPeerDevice : public PeerDevice {
 public:
  explicit ForwardingPeerDevice(PeerDevice& device) : device_(device) {}

  PeerGroup MakePeerGroup() const override { return device_.MakePeerGroup(); }
  bool IsTimed() const override { return device_.IsTimed(); }
  Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(size_t bytes) override {
    return device_.AllocatePeerMemory(bytes);
  }
  Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) override {
    return device_.OpenPeerMemory(handle);
  }
  Result<std::shared_ptr<PeerControl>> AllocatePeerControl() override {
    return device_.AllocatePeerControl();
  }
  Status DrainPeerCalls() override { return device_.DrainPeerCalls(); }
  Status PeerReduce(const PeerReduceArgs& args) override { return device_.PeerReduce(args); }
  Status NormSum(const PeerReduceArgs& args) override { return device_.NormSum(args); }
  Status PeerGather(const PeerGatherArgs& args) override { return device_.PeerGather(args); }

 private:
  PeerDevice& device_;
};

}  // namespace longhand::comm
