// BlockPool: who holds which KV blocks. Blocks are promised first and taken later, one by one, as a
// sequence grows, so that what was promised is always there. Several sequences may hold a block
// that begins all of them. A block that nobody holds any more, but that the prefix cache knows, is
// idle: as free as the others, and taken after them, the one that was given back first before
// later ones. Those that a second sequence has used, as the sections of a document use its picture
// and its plan, are taken last, as long as they are at most half of the pool: prompts that come by
// once do not drive them out. Engine thread (owned by Scheduler).
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "coordinator/engine/prefix_cache.h"

namespace longhand::engine {

class BlockPool {
 public:
  // `cache` forgets blocks that are taken for something else; it must outlive the pool.
  BlockPool(int64_t num_blocks, PrefixCache& cache);

  // Promises `count` blocks, or does nothing and returns false when fewer are available. O(1).
  bool Reserve(int64_t count);
  // Gives back a promise that was not taken.
  void CancelReservation(int64_t count);
  // Turns one promised block into a held one. O(1).
  int32_t TakeReserved();
  // The same with a block that others hold, or that is idle: it keeps what it holds. O(1).
  void ShareReserved(int32_t block_id);
  // A sequence holds its blocks no longer; the caller vouches that no step in flight names those
  // that nobody else holds. The last block becomes idle first: what is left then still begins
  // something.
  void Free(std::span<const int32_t> block_ids);

  int64_t num_blocks() const { return static_cast<int64_t>(num_holders_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()) + num_idle(); }
  int64_t num_idle() const { return static_cast<int64_t>(idle_.size() + idle_reused_.size()); }
  int64_t num_reserved() const { return num_reserved_; }
  int64_t num_available() const { return num_free() - num_reserved_; }
  int32_t num_holders(int32_t block_id) const { return num_holders_[block_id]; }

 private:
  void TakePromise();
  void AddIdle(int32_t block_id);
  std::list<int32_t>& IdleListOf(int32_t block_id) {
    return is_reused_[block_id] ? idle_reused_ : idle_;
  }

  PrefixCache& cache_;
  std::vector<int32_t> free_;         // a stack: the block freed last is the warmest
  std::list<int32_t> idle_;           // oldest first
  std::list<int32_t> idle_reused_;    // oldest first; taken after the others
  std::vector<int32_t> num_holders_;  // [num_blocks]
  std::vector<bool> is_reused_;       // [num_blocks]: another sequence took what it holds
  std::vector<std::list<int32_t>::iterator> idle_place_;  // [num_blocks], of those that are idle
  int64_t num_reserved_ = 0;                              // promised, still free
};

}  // namespace longhand::engine
