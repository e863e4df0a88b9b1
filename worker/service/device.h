// Device: what a worker computes on, and how it describes that to the coordinator.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"
#include "kernels/ops.h"

namespace longhand::service {

struct Device {
  std::unique_ptr<kernels::Ops> ops;
  std::string name;             // "cpu", "reference"
  std::string instruction_set;  // "avx512", "avx2"; "none" for plain loops
  int num_threads = 1;
};

// kInvalidArgument for a name or number of threads that does not exist, kUnimplemented when this
// machine lacks what the device needs.
Result<Device> OpenDevice(const std::string& name, int num_threads);

// What the machine, or the container, has in all. Not what is free: that changes with the worker's
// own weights, and a group that is formed again must come to the same sizes.
int64_t TotalMemoryBytes();

}  // namespace longhand::service
