#include "client/pull/blob_download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace longhand::client {

using std::chrono::milliseconds;

BlobDownload::BlobDownload(const RepositoryFile& file,
                           std::string path,
                           std::filesystem::path blobs,
                           HubHttp& http,
                           PullProgress& progress,
                           const std::atomic<bool>& stop,
                           RetryPolicy policy)
    : file_(file),
      path_(std::move(path)),
      blob_(blobs / file.digest),
      incomplete_(blobs / (file.digest + ".incomplete")),
      http_(http),
      progress_(progress),
      stop_(stop),
      policy_(policy),
      digest_(file.digest_kind, file.size) {}

BlobDownload::~BlobDownload() {
  if (fd_ >= 0) close(fd_);
}

Status BlobDownload::Run() {
  LONGHAND_RETURN_IF_ERROR(Open());
  int num_failures = 0;
  bool was_wrong = false;
  while (true) {
    const int64_t before = size_;
    const Status status = size_ == file_.size && file_.size > 0 ? OkStatus() : Attempt();
    if (size_ > before) num_failures = 0;
    if (status.ok() && size_ == file_.size) {
      const Status finished = Finish();
      if (finished.code() != StatusCode::kDataLoss || was_wrong) return finished;
      was_wrong = true;  // What an earlier process left may be to blame.
      progress_.Say(finished.message() + "; it is downloaded anew");
      LONGHAND_RETURN_IF_ERROR(Begin());
      continue;
    }
    const bool may_pass = status.ok() || status.code() == StatusCode::kUnavailable ||
                          status.code() == StatusCode::kResourceExhausted;
    if (!may_pass || ++num_failures >= policy_.max_failures) {
      return (status.ok()
                  ? Unavailable("the connection ends after ", size_, " of ", file_.size, " bytes")
                  : status)
          .WithContext(file_.name);
    }
    LONGHAND_RETURN_IF_ERROR(Pause(status, num_failures));
  }
}

// What is there counts as come, and is hashed again.
Status BlobDownload::Open() {
  fd_ = open(incomplete_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  struct stat stat{};
  if (fd_ < 0 || fstat(fd_, &stat) != 0) return FileError("open");
  if (stat.st_size > file_.size) return Begin();
  std::vector<char> buffer(size_t{1} << 20);
  while (size_ < stat.st_size) {
    if (stop_) return Cancelled("stopped");
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return FileError("read");
    digest_.Add({buffer.data(), static_cast<size_t>(count)});
    size_ += count;
  }
  progress_.present_bytes += size_;
  return OkStatus();
}

Status BlobDownload::Begin() {
  if (ftruncate(fd_, 0) != 0 || lseek(fd_, 0, SEEK_SET) != 0) return FileError("truncate");
  progress_.downloaded_bytes -= size_;
  size_ = 0;
  digest_ = FileDigest(file_.digest_kind, file_.size);
  return OkStatus();
}

Status BlobDownload::Attempt() {
  bool is_first = true;
  return http_.Get(path_, size_, [&](std::string_view bytes, bool is_partial) {
    // A host that does not do ranges sends all of it again.
    if (std::exchange(is_first, false) && !is_partial && size_ > 0) {
      if (const Status status = Begin(); !status.ok()) return status;
    }
    return Write(bytes);
  });
}

Status BlobDownload::Write(std::string_view bytes) {
  if (size_ + static_cast<int64_t>(bytes.size()) > file_.size) {
    return Status(StatusCode::kDataLoss, file_.name + ": the hub sends more than the " +
                                             std::to_string(file_.size) + " bytes that it has");
  }
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t count = write(fd_, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("write");
    digest_.Add(bytes.substr(written, static_cast<size_t>(count)));
    written += static_cast<size_t>(count);
    size_ += count;
    progress_.downloaded_bytes += count;
  }
  return OkStatus();
}

Status BlobDownload::Finish() {
  const std::string hex = digest_.Hex();
  if (hex != file_.digest) {
    return Status(StatusCode::kDataLoss,
                  file_.name + " has the digest " + hex + "; the hub says " + file_.digest);
  }
  if (fsync(fd_) != 0 || rename(incomplete_.c_str(), blob_.c_str()) != 0)
    return FileError("rename");
  return OkStatus();
}

Status BlobDownload::Pause(const Status& why, int num_failures) {
  auto pause = std::min<milliseconds>(policy_.pause * (1 << std::min(num_failures - 1, 16)),
                                      policy_.max_pause);
  if (const int64_t asked = why.retry_after_seconds(); asked > 0) {
    if (asked > policy_.max_pause.count()) {
      return Status(why.code(),
                    why.message() + "; it may be tried again in " + std::to_string(asked) + " s")
          .WithContext(file_.name);
    }
    pause = std::chrono::seconds(asked);
  }
  progress_.Say(file_.name + ": " + (why.ok() ? "the connection ended early" : why.message()) +
                "; again in " + std::to_string(pause.count()) + " ms, from byte " +
                std::to_string(size_));
  const auto until = std::chrono::steady_clock::now() + pause;
  while (std::chrono::steady_clock::now() < until) {
    if (stop_) return Cancelled("stopped");
    std::this_thread::sleep_for(std::min<milliseconds>(pause, milliseconds(50)));
  }
  return OkStatus();
}

Status BlobDownload::FileError(const char* what) const {
  return Internal("cannot ", what, " ", incomplete_.string(), ": ", std::strerror(errno));
}

}  // namespace longhand::client
