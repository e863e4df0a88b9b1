// What cudaIpcMemHandle is to a device: memory that other processes on the host open by its name.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "common/peer_group.h"
#include "common/status.h"

namespace longhand::kernels::emulation {

// Zeroed; in /dev/shm until it is closed or freed. kResourceExhausted.
Result<std::unique_ptr<PeerMemory>> CreateSharedMemory(size_t bytes);
// kUnavailable where there is none of that name.
Result<std::unique_ptr<PeerMemory>> OpenSharedMemory(const std::string& name);

}  // namespace longhand::kernels::emulation
