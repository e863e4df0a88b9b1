// What `longhand doctor` finds of GPUs: the driver and NCCL, loaded at run time as the worker loads
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/doctor/finding.h"
#include "common/options/serve_options.h"

namespace longhand::client {

struct Gpu {
  std::string name;
  int64_t memory_bytes = 0;
  int major = 0;  // compute capability
  int minor = 0;
  bool is_prohibited = false;  // compute mode
  bool is_exclusive = false;
};

struct GpuFacts {
  std::string driver_version;  // of the kernel module; empty: none is loaded
  std::string driver_error;    // why libcuda.so.1 gives no devices; empty: it does
  int cuda_version = 0;        // the newest that the driver runs: 13000 is 13.0
  std::vector<Gpu> gpus;
  std::string nccl_error;  // why there is no libnccl.so.2; empty: there is
  int nccl_version = 0;    // 23007 is 2.30.7
};

GpuFacts ReadGpus();

// Without --device cuda nothing of it is missed.
Findings JudgeGpus(const GpuFacts& facts, const ServeOptions& options);

}  // namespace longhand::client
