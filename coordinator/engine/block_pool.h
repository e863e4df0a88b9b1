// BlockPool: which KV blocks are free. Blocks are promised first and taken later, one by one, as a
// sequence grows, so that a started answer never finds the pool empty. Engine thread (owned by
// Scheduler).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longhand::engine {

class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  // Promises `count` blocks, or does nothing and returns false when fewer are available. O(1).
  bool Reserve(int64_t count);
  // Gives back a promise that was not taken.
  void CancelReservation(int64_t count);
  // Turns one promised block into an owned one. O(1).
  int32_t TakeReserved();
  // Owned blocks become free; the caller vouches that no step in flight names them.
  void Free(std::span<const int32_t> block_ids);

  int64_t num_blocks() const { return static_cast<int64_t>(owned_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t num_reserved() const { return num_reserved_; }
  int64_t num_available() const { return num_free() - num_reserved_; }
  bool is_owned(int32_t block_id) const { return owned_[block_id]; }

 private:
  std::vector<int32_t> free_;  // a stack: the block freed last is the warmest
  std::vector<bool> owned_;    // [num_blocks]
  int64_t num_reserved_ = 0;   // promised, still in free_
};

}  // namespace longhand::engine
