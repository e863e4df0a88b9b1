// HostIdentity: who can share memory with whom.
#pragma once

#include <string>

namespace longhand::comm {

// Equal for two processes if, and only if, they can use one POSIX shared-memory segment: same
// running kernel, same /dev/shm, same user. Containers on one machine differ unless they share
// /dev/shm. Without a /dev/shm it is unique to the process. Printable, without spaces.
std::string HostIdentity();

}  // namespace longhand::comm
