// What `longhand doctor` finds on this machine, GPUs apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/doctor/finding.h"
#include "common/host_memory.h"
#include "common/options/serve_options.h"

namespace longhand::client {

struct DiskSpace {
  std::string directory;  // the nearest that exists
  bool is_writable = false;
  int64_t available_bytes = 0;
};

struct HostFacts {
  std::string processor;
  bool has_avx2 = false;    // and FMA
  bool has_avx512 = false;  // F, BW, DQ, VL
  bool has_vnni = false;
  bool has_bf16 = false;
  int num_processors = 0;
  double processor_quota = 0;  // of the control group, in processors; 0: none
  HostMemory memory;
  DiskSpace shared_memory;      // /dev/shm
  uint64_t max_open_files = 0;  // hard limits
  uint64_t max_locked_bytes = 0;
  int64_t unix_time = 0;  // seconds
  bool is_synchronised = false;
  DiskSpace journal;
};

HostFacts ReadHost(const ServeOptions& options);

// Each: what is right for a server with these options.
Findings JudgeHost(const HostFacts& facts, const ServeOptions& options);
// Binds each of the three addresses for a moment.
Findings CheckPorts(const ServeOptions& options);

}  // namespace longhand::client
