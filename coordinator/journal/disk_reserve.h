// DiskReserve: a file that holds disk space for what makes room. Forgetting takes space before it
// gives any (the write-ahead log grows first), so on a full disk nothing could be forgotten. The
// reserve is given up while room is made, and taken again before anything else is written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "common/status.h"

namespace longhand::journal {

class DiskReserve {
 public:
  // What a checkpoint of the whole log may need, and a transaction that forgets.
  static constexpr int64_t kBytes = 1 << 20;

  explicit DiskReserve(const std::filesystem::path& directory) : directory_(directory) {}

  // kResourceExhausted when the disk has no room for it, FileStatus for everything else. It may be
  // called again at any time, and finds out that somebody has deleted the file.
  Status Take();
  void GiveUp();
  bool is_held() const { return is_held_; }

  // Any thread: bytes that this user may still write to the disk.
  Result<int64_t> AvailableBytes() const;
  // kResourceExhausted in one sentence: what is free, and what would do.
  Status Full(int64_t needed_bytes) const;

 private:
  std::filesystem::path path() const { return directory_ / "reserve"; }

  std::filesystem::path directory_;
  bool is_held_ = false;
};

// What a file operation's errno says of the journal. kResourceExhausted: the disk is full.
// kFailedPrecondition: a file is in the way, or not ours to write; only a person mends that.
// kUnavailable: everything else may come right by itself (a read-only or failing disk, no
// descriptors left).
Status FileStatus(int error, const std::filesystem::path& path, std::string_view what);

}  // namespace longhand::journal
