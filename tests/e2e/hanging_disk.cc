// Preloaded into a coordinator: while the file $LONGHAND_TEST_HANG + ".write" (".sync") exists,
// writes to (syncs of) the journal do not return; while $LONGHAND_TEST_HANG + ".fail" does, writes
// fail.
#include <dlfcn.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

bool IsJournal(int fd) {
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = readlink(link.c_str(), path, sizeof(path) - 1);
  if (size <= 0) return false;
  path[size] = '\0';
  return std::strstr(path, "journal.db") != nullptr;
}

void HangWhile(int fd, const char* what) {
  const char* base = std::getenv("LONGHAND_TEST_HANG");
  if (base == nullptr || !IsJournal(fd)) return;
  const std::string file = std::string(base) + what;
  while (access(file.c_str(), F_OK) == 0) usleep(1000);
}

bool Fails(int fd) {
  const char* base = std::getenv("LONGHAND_TEST_HANG");
  if (base == nullptr || !IsJournal(fd) || access((std::string(base) + ".fail").c_str(), F_OK) != 0)
    return false;
  errno = EIO;
  return true;
}

template <typename Fn>
Fn* Real(const char* name) {
  return reinterpret_cast<Fn*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  HangWhile(fd, ".write");
  if (Fails(fd)) return -1;
  static const auto real = Real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return real(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  HangWhile(fd, ".write");
  if (Fails(fd)) return -1;
  static const auto real = Real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return real(fd, bytes, size, at);
}

int fsync(int fd) {
  HangWhile(fd, ".sync");
  static const auto real = Real<int(int)>("fsync");
  return real(fd);
}

int fdatasync(int fd) {
  HangWhile(fd, ".sync");
  static const auto real = Real<int(int)>("fdatasync");
  return real(fd);
}

}  // extern "C"
