#include "coordinator/journal/disk_reserve.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

namespace longhand::journal {

Status FileStatus(int error, const std::filesystem::path& path, std::string_view what) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return ResourceExhausted(path.string(), " cannot be ", what, ": ", std::strerror(error));
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case ELOOP:
    case ENAMETOOLONG:
      return FailedPrecondition(path.string(), " cannot be ", what, ": ", std::strerror(error));
    default:
      return Unavailable(path.string(), " cannot be ", what, ": ", std::strerror(error));
  }
}

Status DiskReserve::Take() {
  is_held_ = false;
  const int fd = open(path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return FileStatus(errno, path(), "opened");
  int error = 0;
  do error = posix_fallocate(fd, 0, kBytes);
  while (error == EINTR);
  close(fd);
  is_held_ = error == 0;
  if (is_held_) return OkStatus();
  GiveUp();  // What it got is better left to others than held in part.
  return FileStatus(error, path(), "filled");
}

void DiskReserve::GiveUp() {
  is_held_ = false;
  unlink(path().c_str());
}

Status DiskReserve::Full(int64_t needed_bytes) const {
  LONGHAND_ASSIGN_OR_RETURN(const int64_t available, AvailableBytes());
  return ResourceExhausted("the disk of ", directory_.string(), " is full: ", available,
                           " bytes are free, and the journal needs ", needed_bytes);
}

Result<int64_t> DiskReserve::AvailableBytes() const {
  struct statvfs disk;
  if (statvfs(directory_.c_str(), &disk) != 0) return FileStatus(errno, directory_, "looked at");
  // Some file systems do not count.
  if (disk.f_blocks == 0) return std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
}

}  // namespace longhand::journal
