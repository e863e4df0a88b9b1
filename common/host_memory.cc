#include "common/host_memory.h"

#include <fstream>
#include <string>

namespace longhand {
namespace {

// A limit of none is "max", or a number beyond every memory.
int64_t LimitBytes() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    int64_t bytes = 0;
    if (std::ifstream(path) >> bytes && bytes > 0 && bytes < int64_t{1} << 60) return bytes;
  }
  return 0;
}

}  // namespace

HostMemory ReadHostMemory() {
  HostMemory memory{.limit_bytes = LimitBytes()};
  std::ifstream file("/proc/meminfo");
  for (std::string key, rest; file >> key; std::getline(file, rest)) {
    int64_t kib = 0;
    if (key == "MemTotal:" && file >> kib) memory.total_bytes = kib * 1024;
    if (key == "MemAvailable:" && file >> kib) memory.available_bytes = kib * 1024;
  }
  return memory;
}

}  // namespace longhand
