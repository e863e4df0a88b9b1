// How much memory this host has, and may be taken here.
#pragma once

#include <algorithm>
#include <cstdint>

namespace longhand {

struct HostMemory {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;  // without swapping, as the kernel estimates it
  int64_t limit_bytes = 0;      // of the control group, version 2 or 1; 0: none

  // What there is of `bytes` within the limit.
  int64_t Within(int64_t bytes) const {
    return limit_bytes > 0 ? std::min(bytes, limit_bytes) : bytes;
  }
};

HostMemory ReadHostMemory();

}  // namespace longhand
