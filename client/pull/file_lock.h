// FileLock: flock() on a file, as Hugging Face's tools take it, so that both wait for each other.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>

#include "common/status.h"

namespace longhand::client {

class FileLock {
 public:
  // Waits while another process, or another FileLock, has it; `on_wait` is called once when it
  // must. kCancelled when `stop` is set. The system lets go of it when the process dies.
  static Result<FileLock> Take(const std::filesystem::path& path,
                               const std::atomic<bool>& stop,
                               const std::function<void()>& on_wait);
  ~FileLock();
  FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace longhand::client
