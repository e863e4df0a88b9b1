// Ranks of one process on a device whose memory the host does not reach.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/comm/forwarding_peer_device.h"
#include "worker/comm/communicator.h"

namespace longhand::comm {

// A process cannot open its own memory by CUDA's handles: here they are addresses. Nothing is timed
// when groups form.
class InProcessPeerDevice final : public ForwardingPeerDevice {
 public:
  using ForwardingPeerDevice::ForwardingPeerDevice;
  bool IsTimed() const override { return false; }
  Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(size_t bytes) override;
  Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) override;
};

// A rank's device, and what of it a test's host memory passes through. All memory is taken here:
// freeing some would wait for kernels that wait for another rank.
class DeviceRank {
 public:
  static Result<std::unique_ptr<DeviceRank>> Create(std::unique_ptr<kernels::CudaOps> ops);

  kernels::CudaOps& ops() { return *ops_; }
  PeerDevice& peers() { return peers_; }
  // `on_host` for tensors on the device.
  std::unique_ptr<Communicator> FromDevice(std::unique_ptr<Communicator> on_host);
  // `on_device` for tensors of the host.
  std::unique_ptr<Communicator> FromHost(std::unique_ptr<Communicator> on_device);

 private:
  explicit DeviceRank(std::unique_ptr<kernels::CudaOps> ops)
      : ops_(std::move(ops)), peers_(*ops_) {}
  Status CopyToDevice(void* device, const void* host, size_t bytes);
  Status CopyToHost(void* host, const void* device, size_t bytes);

  std::unique_ptr<kernels::CudaOps> ops_;
  InProcessPeerDevice peers_;
  std::unique_ptr<kernels::Buffer> on_device_;
  std::vector<std::byte> on_host_;
};

}  // namespace longhand::comm
