// DirectoryLock: one process at a time. It goes with the process, however that ends.
#pragma once

#include <filesystem>

#include "common/status.h"

namespace longhand::journal {

class DirectoryLock {
 public:
  DirectoryLock() = default;  // of nothing
  // kFailedPrecondition while another holds it; FileStatus (disk_reserve.h) when the file cannot be
  // made.
  static Result<DirectoryLock> Take(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace longhand::journal
