#include "coordinator/engine/block_pool.h"

#include "common/check.h"

namespace longhand::engine {

BlockPool::BlockPool(int64_t num_blocks, PrefixCache& cache)
    : cache_(cache),
      num_holders_(static_cast<size_t>(num_blocks)),
      idle_place_(static_cast<size_t>(num_blocks)) {
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

void BlockPool::TakePromise() {
  LONGHAND_CHECK(num_reserved_ > 0) << "no block was promised";
  --num_reserved_;
}

int32_t BlockPool::TakeReserved() {
  TakePromise();
  int32_t block_id = 0;
  if (!free_.empty()) {
    block_id = free_.back();
    free_.pop_back();
  } else {
    block_id = idle_.front();
    idle_.pop_front();
    cache_.Forget(block_id);
  }
  num_holders_[block_id] = 1;
  return block_id;
}

void BlockPool::ShareReserved(int32_t block_id) {
  TakePromise();
  if (num_holders_[block_id]++ > 0) return;
  LONGHAND_CHECK(cache_.Contains(block_id))
      << "block " << block_id << " is free, and holds nothing";
  idle_.erase(idle_place_[block_id]);
}

void BlockPool::Free(std::span<const int32_t> block_ids) {
  for (auto it = block_ids.rbegin(); it != block_ids.rend(); ++it) {
    LONGHAND_CHECK(num_holders_[*it] > 0) << "block " << *it << " is freed twice";
    if (--num_holders_[*it] > 0) continue;
    if (cache_.Contains(*it)) {
      idle_place_[*it] = idle_.insert(idle_.end(), *it);
    } else {
      free_.push_back(*it);
    }
  }
}

}  // namespace longhand::engine
