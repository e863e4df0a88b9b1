#include "client/pull/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace longhand::client {

Result<FileLock> FileLock::Take(const std::filesystem::path& path,
                                const std::atomic<bool>& stop,
                                const std::function<void()>& on_wait) {
  FileLock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664));
  if (lock.fd_ < 0) return Internal("cannot open ", path.string(), ": ", std::strerror(errno));
  for (bool waits = false; flock(lock.fd_, LOCK_EX | LOCK_NB) != 0; waits = true) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return Internal("cannot lock ", path.string(), ": ", std::strerror(errno));
    if (stop) return Cancelled("stopped");
    if (!waits) on_wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace longhand::client
