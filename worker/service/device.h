// Device: what a worker computes on, and how it describes that to the coordinator.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/peer_group.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/comm/device_stream.h"

namespace longhand::service {

struct Device {
  std::unique_ptr<kernels::Ops> ops;
  std::unique_ptr<comm::DeviceStream> stream;  // of `ops`; null where tensors are in host memory
  PeerDevice* peers = nullptr;                 // `ops`, where its kernels exchange; else null
  std::string name;                            // "cpu", "cuda", "emulated", "reference"
  std::string instruction_set;                 // "avx512", "avx2", "sm_90"; "none" for plain loops
  int num_threads = 1;
  // What it has for the worker in all, and whose that is: ranks with the same identity share it.
  // Not what is free at the moment: that changes with the worker's own weights, and a group that is
  // formed again must come to the same sizes.
  int64_t memory_bytes = 0;
  std::string memory_identity;
  // Of a GPU's: what was taken when the worker started, its own context included, and by whom is
  // not known; and what each worker leaves to libraries.
  int64_t taken_memory_bytes = 0;
  int64_t library_bytes = 0;
  std::string pci_bus_id;  // of a GPU; empty elsewhere
  // To be called on each further thread that uses the device; null where any may.
  std::function<Status()> use_on_thread;
  // Not OK once the device has failed in a way that lasts as long as this process: all that it is
  // asked for from then on fails. On such a thread; null where that cannot be.
  std::function<Status()> state;
};

// `device_idx`: which GPU; ignored elsewhere. kInvalidArgument for a name or number of threads that
// does not exist, kUnimplemented when this build or machine lacks what the device needs,
// kUnavailable when there is no such GPU.
Result<Device> OpenDevice(const std::string& name, int num_threads, int device_idx = 0);

// Of this machine, or what its container may take.
int64_t HostMemoryBytes();

}  // namespace longhand::service
