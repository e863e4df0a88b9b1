#include "kernels/emulation/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace longhand::kernels::emulation {
namespace {

class MappedMemory final : public PeerMemory {
 public:
  MappedMemory(void* data, size_t bytes, std::string name, bool is_own)
      : data_(data), bytes_(bytes), name_(std::move(name)), is_named_(is_own) {}
  ~MappedMemory() override {
    Close();
    munmap(data_, bytes_);
  }
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  std::byte* data() override { return static_cast<std::byte*>(data_); }
  std::string handle() const override { return name_; }
  void Close() override {
    if (std::exchange(is_named_, false)) shm_unlink(name_.c_str());
  }

 private:
  void* data_;
  size_t bytes_;
  std::string name_;
  bool is_named_;
};

// Closes `file`.
Result<std::unique_ptr<PeerMemory>> Map(int file, size_t bytes, std::string name, bool is_own) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int error = errno;
  close(file);
  if (data == MAP_FAILED) return ResourceExhausted("cannot map ", name, ": ", strerror(error));
  return std::unique_ptr<PeerMemory>(
      std::make_unique<MappedMemory>(data, bytes, std::move(name), is_own));
}

}  // namespace

Result<std::unique_ptr<PeerMemory>> CreateSharedMemory(size_t bytes) {
  static std::atomic<int> next{0};
  const std::string name =
      "/longhand-peer-" + std::to_string(getpid()) + "-" + std::to_string(++next);
  const int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  if (file < 0) return ResourceExhausted("cannot create ", name, ": ", strerror(errno));
  // A later write would end the process where there is no room.
  const int error = posix_fallocate(file, 0, static_cast<off_t>(bytes));
  if (error != 0) {
    close(file);
    shm_unlink(name.c_str());
    return ResourceExhausted("/dev/shm has no room for ", bytes, " bytes: ", strerror(error));
  }
  auto mapped = Map(file, bytes, name, /*is_own=*/true);
  if (!mapped.ok()) shm_unlink(name.c_str());
  return mapped;
}

Result<std::unique_ptr<PeerMemory>> OpenSharedMemory(const std::string& name) {
  const int file = shm_open(name.c_str(), O_RDWR, 0);
  struct stat status{};
  if (file < 0 || fstat(file, &status) != 0) {
    const int error = errno;
    if (file >= 0) close(file);
    return Unavailable("cannot open ", name, ": ", strerror(error));
  }
  return Map(file, static_cast<size_t>(status.st_size), name, /*is_own=*/false);
}

}  // namespace longhand::kernels::emulation
