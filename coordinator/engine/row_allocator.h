// RowAllocator: runs of consecutive rows in the encoder cache. First fit; neighbours join when
// freed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace longhand::engine {

class RowAllocator {
 public:
  explicit RowAllocator(int64_t num_rows);

  // The first row of `count` consecutive ones; nothing when no gap is that long. O(number of gaps).
  std::optional<int64_t> Allocate(int64_t count);
  void Free(int64_t first_row, int64_t count);

  int64_t num_free() const { return num_free_; }

 private:
  std::map<int64_t, int64_t> gaps_;  // first row -> length
  int64_t num_free_ = 0;
};

}  // namespace longhand::engine
