// CreateCommunicator: forms a group over the transport that the coordinator chose.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "common/peer_group.h"
#include "common/status.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_stream.h"
#include "worker/comm/key_value_store.h"

namespace longhand::comm {

enum class Transport : uint8_t {
  kSingle,        // one rank
  kSharedMemory,  // all ranks have the same HostIdentity()
  kGloo,          // TCP
  kNccl,          // GPUs
};

struct CommunicatorConfig {
  int rank = 0;
  int size = 1;
  // Names the group among all that could meet on a host or in a store: letters, digits, '-', '_'
  // and '.'.
  std::string group;
  int64_t epoch = 0;
  Transport transport = Transport::kSingle;
  std::chrono::milliseconds timeout{30'000};  // to form the group, and then of each call

  // kSharedMemory: bytes per rank and chunk; the segment takes 2 * (size + 1) times as much. A
  // multiple of 4096.
  size_t chunk_bytes = 1 << 20;

  // kGloo: where this rank listens, as peers can reach it. One of the two.
  std::string host;
  std::string interface_name;

  // Where set, kSharedMemory's and kNccl's ranks exchange by kernels where these can (peer_communicator.h); their memory
  // and `store` must then do. Borrowed; outlives the communicator.
  PeerDevice* peers = nullptr;
  std::function<void(const std::string&)> log;  // one line; may be empty

  // kNccl, and kSingle on a GPU: the rank's device. Borrowed; outlives the communicator.
  DeviceStream* device = nullptr;
  std::string nccl_library;  // as NcclLibrary::Load()
};

// Called by every rank with the same group, epoch, size, transport and chunk_bytes; returns when
// all have come. `store` is used by kGloo and kNccl, and with `peers`. kInvalidArgument for a configuration that
// cannot work; kDeadlineExceeded when a rank does not come; kAborted soon after `stop` is
// requested.
Result<std::unique_ptr<Communicator>> CreateCommunicator(const CommunicatorConfig& config,
                                                         KeyValueStore& store,
                                                         std::stop_token stop);

}  // namespace longhand::comm
