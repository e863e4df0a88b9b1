#include "coordinator/engine/host_blocks.h"

#include "common/check.h"

namespace longhand::engine {

HostBlocks::HostBlocks(int64_t num_blocks) : is_taken_(static_cast<size_t>(num_blocks)) {
  free_.reserve(static_cast<size_t>(num_blocks));
  for (int64_t id = num_blocks - 1; id >= 0; --id) free_.push_back(static_cast<int32_t>(id));
}

int32_t HostBlocks::Take() {
  LONGHAND_CHECK(!free_.empty()) << "no host block is free";
  const int32_t block_id = free_.back();
  free_.pop_back();
  is_taken_[static_cast<size_t>(block_id)] = true;
  return block_id;
}

void HostBlocks::Free(std::span<const int32_t> block_ids) {
  for (const int32_t block_id : block_ids) {
    LONGHAND_CHECK(is_taken(block_id)) << "host block " << block_id << " is freed twice";
    is_taken_[static_cast<size_t>(block_id)] = false;
    free_.push_back(block_id);
  }
}

}  // namespace longhand::engine
