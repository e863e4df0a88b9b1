#include "worker/comm/host_identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace longhand::comm {

std::string HostIdentity() {
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  std::ostringstream identity;
  identity << (boot_id.empty() ? "unknown-boot" : boot_id);
  struct stat shm {};
  if (boot_id.empty() || stat("/dev/shm", &shm) != 0 || access("/dev/shm", W_OK) != 0) {
    // Nobody shares anything with this process.
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    identity << ":no-shm:" << host << ":" << getpid();
  } else {
    identity << ":" << shm.st_dev << ":" << shm.st_ino << ":" << geteuid();
  }
  return identity.str();
}

}  // namespace longhand::comm
