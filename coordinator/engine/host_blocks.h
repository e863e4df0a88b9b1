// HostBlocks: KV blocks in the workers' host memory, in which preempted sequences keep what they
// have computed until they run again. Nobody is promised any: who finds none is computed again.
// Engine thread (owned by Scheduler).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longhand::engine {

class HostBlocks {
 public:
  explicit HostBlocks(int64_t num_blocks);

  // One of those that are free, of which there must be one. O(1).
  int32_t Take();
  // What is in them is lost with the next plan that swaps out.
  void Free(std::span<const int32_t> block_ids);

  int64_t num_blocks() const { return static_cast<int64_t>(is_taken_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  bool is_taken(int32_t block_id) const { return is_taken_[static_cast<size_t>(block_id)]; }

 private:
  std::vector<int32_t> free_;  // a stack
  std::vector<bool> is_taken_;
};

}  // namespace longhand::engine
