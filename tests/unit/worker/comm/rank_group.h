// RankGroup: a group of communicators whose ranks are threads of the test, over any transport.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/comm/device_ranks.h"
#include "tests/unit/worker/comm/in_memory_store.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_stream.h"

namespace longhand::comm {

// The thread sanitizer does not follow the fibers of emulated devices.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kHasEmulatedDevices = false;
#else
inline constexpr bool kHasEmulatedDevices = true;
#endif

enum class TestTransport {
  kSingle,
  kSharedMemory,        // in-process memory, so that a thread sanitizer sees who touches what
  kSharedMemoryChunks,  // the same with chunks of 4 KB: pipelines are long
  kNamedSharedMemory,   // a POSIX segment, mapped by each rank for itself
  kGloo,                // TCP over loopback
  kNccl,                // the stand-in for NCCL, over devices in host memory
  kNcclPieces,          // the same with little room: sums go in many pieces
  kPeers,          // kernels of emulated devices that read each other's memory, over shared memory
  kPeersShuffled,  // the same with threads and blocks in another order
  kLatePeers,      // the same on devices that run apart from the host
  kPeersCopied,    // the same with tensors that only the device reads
  kCudaPeers,      // kPeersCopied on the first GPU, which all ranks share
};

struct GroupParam {
  TestTransport transport = TestTransport::kSingle;
  int size = 1;
};
std::string GroupName(const GroupParam& param);

class RankGroup {
 public:
  RankGroup(const GroupParam& param, std::chrono::milliseconds timeout);

  // Why there is no such group on this machine; empty where there is.
  const std::string& why_not() const { return why_not_; }
  int size() const { return static_cast<int>(ranks_.size()); }
  Communicator& operator[](int rank) {
    LONGHAND_CHECK(ranks_[static_cast<size_t>(rank)] != nullptr) << "rank " << rank;
    return *ranks_[static_cast<size_t>(rank)];
  }
  // The device of a rank of kPeers, on which its calls run.
  kernels::CudaOps& ops(int rank) { return *ops_[static_cast<size_t>(rank)]; }
  // Lets one rank go, as when its process ends.
  void Destroy(int rank) { ranks_[static_cast<size_t>(rank)].reset(); }
  std::unique_ptr<Communicator> Take(int rank) {
    return std::move(ranks_[static_cast<size_t>(rank)]);
  }
  // Runs `body` once per rank, each in a thread of its own, to the end.
  void Run(const std::function<void(Communicator&)>& body);

 private:
  void ConnectDeviceRanks(const GroupParam& param,
                          int64_t epoch,
                          std::chrono::milliseconds timeout);

  InMemoryStore store_;
  std::vector<std::unique_ptr<DeviceStream>> devices_;     // [size], or none
  std::vector<std::unique_ptr<kernels::CudaOps>> ops_;     // [size], or none
  std::vector<std::unique_ptr<DeviceRank>> device_ranks_;  // [size], or none
  std::string why_not_;
  std::vector<std::unique_ptr<Communicator>> ranks_;
};

}  // namespace longhand::comm
