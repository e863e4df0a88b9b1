#include "coordinator/engine/block_pool.h"

#include "common/check.h"

namespace longhand::engine {

BlockPool::BlockPool(int64_t num_blocks) : owned_(static_cast<size_t>(num_blocks)) {
  free_.reserve(static_cast<size_t>(num_blocks));
  for (int64_t id = num_blocks - 1; id >= 0; --id) free_.push_back(static_cast<int32_t>(id));
}

bool BlockPool::Reserve(int64_t count) {
  if (count > num_available()) return false;
  num_reserved_ += count;
  return true;
}

void BlockPool::CancelReservation(int64_t count) {
  LONGHAND_CHECK_LE(count, num_reserved_);
  num_reserved_ -= count;
}

int32_t BlockPool::TakeReserved() {
  LONGHAND_CHECK(num_reserved_ > 0) << "no block was promised";
  --num_reserved_;
  const int32_t block_id = free_.back();
  free_.pop_back();
  owned_[block_id] = true;
  return block_id;
}

void BlockPool::Free(std::span<const int32_t> block_ids) {
  for (const int32_t block_id : block_ids) {
    LONGHAND_CHECK(owned_[block_id]) << "block " << block_id << " is freed twice";
    owned_[block_id] = false;
    free_.push_back(block_id);
  }
}

}  // namespace longhand::engine
