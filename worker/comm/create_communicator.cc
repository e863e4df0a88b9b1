#include "worker/comm/create_communicator.h"

#include <sched.h>

#include <thread>
#include <utility>

#include "worker/comm/gloo_communicator.h"
#include "worker/comm/nccl_communicator.h"
#include "worker/comm/peer_communicator.h"
#include "worker/comm/shared_memory.h"
#include "worker/comm/single_rank.h"

namespace longhand::comm {
namespace {

// About twice what waking a sleeper takes: ranks that arrive together never sleep, a late one costs
// little.
constexpr std::chrono::microseconds kSpin{50};

int AllowedCores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::thread::hardware_concurrency());
}

Status Check(const CommunicatorConfig& config) {
  if (config.size < 1 || config.rank < 0 || config.rank >= config.size) {
    return InvalidArgument("rank ", config.rank, " of ", config.size,
                           "; ranks count from 0 to size - 1");
  }
  if (config.transport == Transport::kSingle && config.size != 1) {
    return InvalidArgument(config.size, " ranks need a transport");
  }
  if (config.transport == Transport::kSharedMemory &&
      (config.size > kMaxSharedRanks || config.chunk_bytes == 0 ||
       config.chunk_bytes % 4096 != 0)) {
    return InvalidArgument(config.size, " ranks with chunks of ", config.chunk_bytes,
                           " bytes; at most ", kMaxSharedRanks,
                           " ranks, and chunks that are a multiple of 4096");
  }
  if (config.size > 1 && (config.transport == Transport::kNccl) != (config.device != nullptr)) {
    return InvalidArgument("NCCL is for ranks on GPUs, and the only transport between them");
  }
  if (config.timeout.count() <= 0) {
    return InvalidArgument("timeout is ", config.timeout.count(), " ms; it must be positive");
  }
  return OkStatus();
}

Result<std::unique_ptr<Communicator>> CreateSharedMemory(const CommunicatorConfig& config,
                                                         std::stop_token stop) {
  LONGHAND_ASSIGN_OR_RETURN(
      auto segment,
      SharedSegment::Join({.shape = {.num_ranks = config.size, .chunk_bytes = config.chunk_bytes},
                           .group = config.group,
                           .epoch = config.epoch,
                           .timeout = config.timeout},
                          config.rank, stop));
  // Where ranks outnumber cores, a spinning rank keeps the awaited one from running.
  const bool spin = config.size <= AllowedCores();
  return std::unique_ptr<Communicator>(new SharedMemoryCommunicator(
      std::move(segment), config.rank,
      {.timeout = config.timeout, .spin = spin ? kSpin : std::chrono::nanoseconds(0)}));
}

Result<std::unique_ptr<Communicator>> CreateGloo(const CommunicatorConfig& config,
                                                 KeyValueStore& store,
                                                 std::stop_token stop) {
  LONGHAND_ASSIGN_OR_RETURN(auto communicator,
                            GlooCommunicator::Connect({.rank = config.rank,
                                                       .size = config.size,
                                                       .group = config.group,
                                                       .epoch = config.epoch,
                                                       .host = config.host,
                                                       .interface_name = config.interface_name,
                                                       .timeout = config.timeout},
                                                      store, stop));
  return std::unique_ptr<Communicator>(std::move(communicator));
}

Result<std::unique_ptr<Communicator>> CreateNccl(const CommunicatorConfig& config,
                                                 KeyValueStore& store,
                                                 std::stop_token stop) {
  LONGHAND_ASSIGN_OR_RETURN(auto communicator,
                            NcclCommunicator::Connect({.rank = config.rank,
                                                       .size = config.size,
                                                       .group = config.group,
                                                       .epoch = config.epoch,
                                                       .library = config.nccl_library,
                                                       .timeout = config.timeout,
                                                       .spin = config.size <= AllowedCores()},
                                                      *config.device, store, stop));
  return std::unique_ptr<Communicator>(std::move(communicator));
}

Result<std::unique_ptr<Communicator>> WithPeers(const CommunicatorConfig& config,
                                                Result<std::unique_ptr<Communicator>> inner,
                                                KeyValueStore& store,
                                                std::stop_token stop) {
  if (!inner.ok() || config.peers == nullptr) return inner;
  return PeerCommunicator::Connect({.group = config.group,
                                    .epoch = config.epoch,
                                    .timeout = config.timeout,
                                    .log = config.log},
                                   std::move(inner).value(), *config.peers, store, stop);
}

}  // namespace

Result<std::unique_ptr<Communicator>> CreateCommunicator(const CommunicatorConfig& config,
                                                         KeyValueStore& store,
                                                         std::stop_token stop) {
  LONGHAND_RETURN_IF_ERROR(Check(config));
  if (config.size == 1) {
    return std::unique_ptr<Communicator>(new SingleRankCommunicator(config.device));
  }
  switch (config.transport) {
    case Transport::kSingle:
      break;
    case Transport::kSharedMemory:
      return WithPeers(config, CreateSharedMemory(config, stop), store, stop);
    case Transport::kGloo:
      return CreateGloo(config, store, stop);
    case Transport::kNccl:
      return WithPeers(config, CreateNccl(config, store, stop), store, stop);
  }
  return InvalidArgument("unknown transport ", static_cast<int>(config.transport));
}

}  // namespace longhand::comm
