#include "worker/comm/shared_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <new>
#include <sstream>
#include <system_error>
#include <thread>

namespace longhand::comm {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr uint64_t kMagic = 0x316d6d6f63676e6cu;  // Names this layout; changes with it.
constexpr size_t kPage = 4096;
// Forming a group is rare, and a name has nothing to sleep on.
constexpr std::chrono::milliseconds kPollInterval{1};

size_t RoundUpToPage(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::string ErrnoText(int error) { return std::generic_category().message(error); }

std::string SegmentPrefix(const std::string& group) { return "longhand-" + group + "-"; }

bool IsPortableName(const std::string& group) {
  if (group.empty() || group.size() > 128) return false;
  return group.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
         std::string::npos;
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

class UnlinkOnExit {
 public:
  explicit UnlinkOnExit(const std::string& name) : name_(name) {}
  UnlinkOnExit(const UnlinkOnExit&) = delete;
  UnlinkOnExit& operator=(const UnlinkOnExit&) = delete;
  ~UnlinkOnExit() { shm_unlink(name_.c_str()); }

 private:
  const std::string& name_;
};

// Removes what earlier epochs of this group left when they died while forming. Only rank 0 of the
// current epoch does.
void RemoveOlderEpochs(const std::string& group, int64_t epoch) {
  const std::string prefix = SegmentPrefix(group);
  std::error_code error;
  for (std::filesystem::directory_iterator it("/dev/shm", error), end; !error && it != end;
       it.increment(error)) {
    const std::string file = it->path().filename().string();
    if (!file.starts_with(prefix)) continue;
    int64_t old_epoch = 0;
    const char* end_of_file = file.data() + file.size();
    const auto [parsed, parse_error] =
        std::from_chars(file.data() + prefix.size(), end_of_file, old_epoch);
    if (parse_error == std::errc() && parsed == end_of_file && old_epoch < epoch) {
      shm_unlink(("/" + file).c_str());
    }
  }
}

// Polls `done` until it holds.
template <typename Done>
Status PollUntil(SteadyTime deadline, std::stop_token stop, Done done) {
  while (!done()) {
    if (stop.stop_requested()) return Aborted("forming the group was aborted");
    if (std::chrono::steady_clock::now() >= deadline) return DeadlineExceeded("timed out");
    std::this_thread::sleep_for(kPollInterval);
  }
  return OkStatus();
}

}  // namespace

struct SharedSegment::Header {
  std::atomic<uint64_t> magic;  // Written last.
  int64_t epoch;
  uint64_t num_ranks;
  uint64_t chunk_bytes;
  // 1 once every rank has joined and the name is gone.
  std::atomic<uint32_t> go;
  RankControl controls[kMaxSharedRanks];
};

size_t SharedSegment::TotalBytes(const SegmentShape& shape) {
  const size_t num_slots = 2 * static_cast<size_t>(shape.num_ranks) + 2;
  return RoundUpToPage(sizeof(Header)) + num_slots * shape.chunk_bytes;
}

SharedSegment::Header& SharedSegment::header() { return *static_cast<Header*>(memory_); }

RankControl& SharedSegment::control(int rank) { return header().controls[rank]; }

std::byte* SharedSegment::slot(int rank, int parity) {
  std::byte* data = static_cast<std::byte*>(memory_) + RoundUpToPage(sizeof(Header));
  return data + (2 * static_cast<size_t>(rank) + static_cast<size_t>(parity)) * shape_.chunk_bytes;
}

std::byte* SharedSegment::result(int parity) { return slot(shape_.num_ranks, parity); }

void SharedSegment::Initialise(int64_t epoch) {
  Header* header = new (memory_) Header{};
  header->epoch = epoch;
  header->num_ranks = static_cast<uint64_t>(shape_.num_ranks);
  header->chunk_bytes = shape_.chunk_bytes;
  for (RankControl& control : header->controls) control.progress.store(kFirstEvent);
  header->magic.store(kMagic, std::memory_order_release);
}

std::shared_ptr<SharedSegment> SharedSegment::Map(const SegmentShape& shape, int fd) {
  const int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = mmap(nullptr, TotalBytes(shape), PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  return std::shared_ptr<SharedSegment>(new SharedSegment(shape, memory));
}

SharedSegment::~SharedSegment() { munmap(memory_, TotalBytes(shape_)); }

std::shared_ptr<SharedSegment> SharedSegment::InProcess(const SegmentShape& shape) {
  std::shared_ptr<SharedSegment> segment = Map(shape, /*fd=*/-1);
  LONGHAND_CHECK(segment != nullptr) << "no memory for " << TotalBytes(shape) << " bytes";
  segment->Initialise(/*epoch=*/0);
  return segment;
}

Result<std::shared_ptr<SharedSegment>> SharedSegment::Join(const Options& options,
                                                           int rank,
                                                           std::stop_token stop) {
  const SegmentShape& shape = options.shape;
  LONGHAND_CHECK(shape.num_ranks >= 1 && shape.num_ranks <= kMaxSharedRanks)
      << shape.num_ranks << " ranks on one host; at most " << kMaxSharedRanks;
  LONGHAND_CHECK(shape.chunk_bytes > 0 && shape.chunk_bytes % kPage == 0) << shape.chunk_bytes;
  if (!IsPortableName(options.group)) {
    return InvalidArgument("group name '", options.group,
                           "' must be 1 to 128 letters, digits, '-', '_' or '.'");
  }
  const std::string name = "/" + SegmentPrefix(options.group) + std::to_string(options.epoch);
  return rank == 0 ? CreateAsRankZero(options, name, stop) : Attach(options, name, rank, stop);
}

Result<std::shared_ptr<SharedSegment>> SharedSegment::CreateAsRankZero(const Options& options,
                                                                       const std::string& name,
                                                                       std::stop_token stop) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options.timeout;
  RemoveOlderEpochs(options.group, options.epoch);
  // A segment of this very name was left by a run that died: nobody but rank 0 creates one.
  shm_unlink(name.c_str());
  FileDescriptor fd(shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (fd.get() < 0) {
    return Unavailable("cannot create shared memory ", name, ": ", ErrnoText(errno));
  }
  std::shared_ptr<SharedSegment> segment;
  {
    UnlinkOnExit unlink_on_exit(name);
    const size_t bytes = TotalBytes(options.shape);
    // Takes the memory now: a full /dev/shm found later would be a SIGBUS.
    if (const int error = posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); error != 0) {
      return ResourceExhausted("cannot take ", bytes, " bytes of /dev/shm: ", ErrnoText(error));
    }
    segment = Map(options.shape, fd.get());
    if (segment == nullptr) {
      return ResourceExhausted("cannot map ", bytes, " bytes of shared memory: ", ErrnoText(errno));
    }
    segment->Initialise(options.epoch);
    segment->control(0).joined.store(1);
    const Status joined =
        PollUntil(deadline, stop, [&] { return segment->MissingRanks().empty(); });
    if (!joined.ok()) {
      return joined.WithContext("waiting for ranks " + segment->MissingRanks() + " to map " + name);
    }
  }
  // Only now: a segment that can still be found by name never says go, so nobody trusts a stale
  // one.
  segment->header().go.store(1);
  return segment;
}

std::string SharedSegment::MissingRanks() {
  std::ostringstream missing;
  for (int rank = 0; rank < shape_.num_ranks; ++rank) {
    if (control(rank).joined.load() == 0) missing << (missing.tellp() > 0 ? ", " : "") << rank;
  }
  return missing.str();
}

Result<std::shared_ptr<SharedSegment>> SharedSegment::Attach(const Options& options,
                                                             const std::string& name,
                                                             int rank,
                                                             std::stop_token stop) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options.timeout;
  std::shared_ptr<SharedSegment> segment;
  ino_t mapped_inode = 0;
  Status failure;
  // The name may lead to a stale segment first, and to the real one once rank 0 has come: follow it
  // until one says go.
  const Status joined = PollUntil(deadline, stop, [&] {
    if (segment != nullptr && segment->header().go.load() == 1) return true;
    FileDescriptor fd(shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0));
    if (fd.get() < 0) {
      if (errno != ENOENT) failure = Unavailable("cannot open ", name, ": ", ErrnoText(errno));
      return !failure.ok();
    }
    struct stat info {};
    if (fstat(fd.get(), &info) != 0 || info.st_ino == mapped_inode) return false;
    if (static_cast<size_t>(info.st_size) != TotalBytes(options.shape)) return false;
    std::shared_ptr<SharedSegment> found = Map(options.shape, fd.get());
    if (found == nullptr) {
      failure = ResourceExhausted("cannot map ", name, ": ", ErrnoText(errno));
      return true;
    }
    const Header& header = found->header();
    if (header.magic.load(std::memory_order_acquire) != kMagic || header.epoch != options.epoch ||
        header.num_ranks != static_cast<uint64_t>(options.shape.num_ranks) ||
        header.chunk_bytes != options.shape.chunk_bytes) {
      return false;
    }
    found->control(rank).joined.store(1);
    segment = std::move(found);
    mapped_inode = info.st_ino;
    return false;
  });
  if (!failure.ok()) return failure;
  if (!joined.ok()) return joined.WithContext("waiting for rank 0 to form " + name);
  return segment;
}

}  // namespace longhand::comm
