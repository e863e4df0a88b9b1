#include "tests/unit/worker/comm/rank_group.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/unit/worker/comm/nccl_stand_in/host_stream.h"
#include "tests/unit/worker/comm/nccl_stand_in/nccl_stand_in.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/nccl_communicator.h"
#include "worker/comm/peer_communicator.h"
#include "worker/comm/shared_memory.h"

namespace longhand::comm {
namespace {

const char* TransportName(TestTransport transport) {
  switch (transport) {
    case TestTransport::kSingle:
      return "Single";
    case TestTransport::kSharedMemory:
      return "SharedMemory";
    case TestTransport::kSharedMemoryChunks:
      return "SharedMemoryChunks";
    case TestTransport::kNamedSharedMemory:
      return "NamedSharedMemory";
    case TestTransport::kGloo:
      return "Gloo";
    case TestTransport::kNccl:
      return "Nccl";
    case TestTransport::kNcclPieces:
      return "NcclPieces";
    case TestTransport::kPeers:
      return "Peers";
    case TestTransport::kPeersShuffled:
      return "PeersShuffled";
    case TestTransport::kLatePeers:
      return "LatePeers";
    case TestTransport::kPeersCopied:
      return "PeersCopied";
    case TestTransport::kCudaPeers:
      return "CudaPeers";
  }
  return "";
}

bool IsNccl(TestTransport transport) {
  return transport == TestTransport::kNccl || transport == TestTransport::kNcclPieces;
}

std::unique_ptr<Communicator> ConnectNccl(const GroupParam& param,
                                          int rank,
                                          int64_t epoch,
                                          std::chrono::milliseconds timeout,
                                          DeviceStream& device,
                                          KeyValueStore& store) {
  NcclOptions options{.rank = rank,
                      .size = param.size,
                      .group = "test",
                      .epoch = epoch,
                      .library = nccl_stand_in::kPath,
                      .timeout = timeout,
                      .spin = false};
  if (param.transport == TestTransport::kNcclPieces) options.scratch_bytes = 4096;
  auto communicator = NcclCommunicator::Connect(options, device, store, {});
  EXPECT_TRUE(communicator.ok()) << communicator.status();
  return communicator.ok() ? std::move(communicator).value() : nullptr;
}

bool IsCopied(TestTransport transport) {
  return transport == TestTransport::kPeersCopied || transport == TestTransport::kCudaPeers;
}

Result<std::unique_ptr<kernels::CudaOps>> MakeOps(TestTransport transport) {
  if (transport != TestTransport::kCudaPeers) return kernels::CreateEmulatedOps();
#if defined(LONGHAND_WITH_CUDA)
  // A kernel that is loaded when it is first launched may wait for another rank's, which waits.
  setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
  return kernels::CreateCudaOps(/*device_idx=*/0);
#else
  return Unimplemented("this build is without CUDA");
#endif
}

bool IsPeers(TestTransport transport) {
  return transport == TestTransport::kPeers || transport == TestTransport::kPeersShuffled ||
         transport == TestTransport::kLatePeers;
}

std::unique_ptr<Communicator> ConnectPeers(std::unique_ptr<Communicator> inner,
                                           int64_t epoch,
                                           std::chrono::milliseconds timeout,
                                           PeerDevice& device,
                                           KeyValueStore& store) {
  auto communicator = PeerCommunicator::Connect(
      {.group = "test", .epoch = epoch, .timeout = timeout}, std::move(inner), device, store, {});
  EXPECT_TRUE(communicator.ok()) << communicator.status();
  return communicator.ok() ? std::move(communicator).value() : nullptr;
}

std::unique_ptr<Communicator> Create(const GroupParam& param,
                                     int rank,
                                     int64_t epoch,
                                     std::chrono::milliseconds timeout,
                                     KeyValueStore& store) {
  CommunicatorConfig config;
  config.rank = rank;
  config.size = param.size;
  config.group = "test-" + std::to_string(getpid());
  config.epoch = epoch;
  config.timeout = timeout;
  config.host = "127.0.0.1";
  switch (param.transport) {
    case TestTransport::kSingle:
      config.transport = Transport::kSingle;
      break;
    case TestTransport::kGloo:
      config.transport = Transport::kGloo;
      break;
    default:
      config.transport = Transport::kSharedMemory;
  }
  auto communicator = CreateCommunicator(config, store, {});
  EXPECT_TRUE(communicator.ok()) << communicator.status();
  return communicator.ok() ? std::move(communicator).value() : nullptr;
}

}  // namespace

std::string GroupName(const GroupParam& param) {
  return std::string(TransportName(param.transport)) + "Of" + std::to_string(param.size);
}

RankGroup::RankGroup(const GroupParam& param, std::chrono::milliseconds timeout)
    : ranks_(static_cast<size_t>(param.size)) {
  const bool in_process = param.transport == TestTransport::kSharedMemory ||
                          param.transport == TestTransport::kSharedMemoryChunks ||
                          IsPeers(param.transport) || IsCopied(param.transport);
  if (in_process) {
    const size_t chunk_bytes =
        param.transport == TestTransport::kSharedMemoryChunks ? 4096 : size_t{1} << 20;
    auto segment = SharedSegment::InProcess({.num_ranks = param.size, .chunk_bytes = chunk_bytes});
    for (int rank = 0; rank < param.size; ++rank) {
      ranks_[static_cast<size_t>(rank)] = std::make_unique<SharedMemoryCommunicator>(
          segment, rank, SharedMemoryCommunicator::Options{.timeout = timeout});
    }
    if (!IsPeers(param.transport) && !IsCopied(param.transport)) return;
  }
  static std::atomic<int64_t> epoch{0};
  const int64_t this_epoch = ++epoch;
  if (IsCopied(param.transport)) {
    ConnectDeviceRanks(param, this_epoch, timeout);
    return;
  }
  if (in_process) {
    const uint64_t seed = param.transport == TestTransport::kPeersShuffled ? 7 : 0;
    for (int rank = 0; rank < param.size; ++rank) {
      auto ops = kernels::CreateEmulatedOps(
          {.schedule_seed = seed, .runs_apart = param.transport == TestTransport::kLatePeers});
      LONGHAND_CHECK(ops.ok()) << ops.status();
      ops_.push_back(std::move(ops).value());
    }
    std::vector<std::jthread> threads;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      threads.emplace_back([&, r] {
        ranks_[r] = ConnectPeers(std::move(ranks_[r]), this_epoch, timeout, *ops_[r], store_);
      });
    }
    return;
  }
  const bool nccl = IsNccl(param.transport);
  for (int rank = 0; nccl && rank < param.size; ++rank) {
    devices_.push_back(std::make_unique<HostDeviceStream>());
  }
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < param.size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto r = static_cast<size_t>(rank);
      ranks_[r] = nccl ? ConnectNccl(param, rank, this_epoch, timeout, *devices_[r], store_)
                       : Create(param, rank, this_epoch, timeout, store_);
    });
  }
}

void RankGroup::ConnectDeviceRanks(const GroupParam& param,
                                   int64_t epoch,
                                   std::chrono::milliseconds timeout) {
  for (int rank = 0; rank < param.size; ++rank) {
    auto ops = MakeOps(param.transport);
    if (!ops.ok()) {
      why_not_ = ops.status().message();
      ranks_.clear();
      return;
    }
    auto device = DeviceRank::Create(std::move(ops).value());
    LONGHAND_CHECK(device.ok()) << device.status();
    device_ranks_.push_back(std::move(device).value());
  }
  std::vector<std::jthread> threads;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    threads.emplace_back([&, r] {
      DeviceRank& device = *device_ranks_[r];
      ranks_[r] = device.FromHost(ConnectPeers(device.FromDevice(std::move(ranks_[r])), epoch,
                                               timeout, device.peers(), store_));
    });
  }
}

void RankGroup::Run(const std::function<void(Communicator&)>& body) {
  std::vector<std::jthread> threads;
  for (auto& rank : ranks_) threads.emplace_back([&] { body(*rank); });
}

}  // namespace longhand::comm
