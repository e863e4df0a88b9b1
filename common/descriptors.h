// The process's own descriptors: without them nothing can be opened, looked up or accepted, and
// some libraries never get over it. So connections do not get the last ones.
#pragma once

#include <sys/resource.h>

#include <algorithm>

namespace longhand {

// Whether a connection that was given descriptor `fd` must be closed at once. The lowest that is
// free is given, so the number says how many are in use. Any thread.
inline bool IsKeptDescriptor(int fd) {
  constexpr rlim_t kMostKept = 64;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  return static_cast<rlim_t>(fd) >= limit.rlim_cur - std::min(kMostKept, limit.rlim_cur / 4);
}

}  // namespace longhand
