#include "coordinator/engine/block_pool.h"

#include "common/check.h"

namespace longhand::engine {

BlockPool::BlockPool(int64_t num_blocks, PrefixCache& cache)
    : cache_(cache),
      num_holders_(static_cast<size_t>(num_blocks)),
      is_reused_(static_cast<size_t>(num_blocks)),
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
    std::list<int32_t>& idle = idle_.empty() ? idle_reused_ : idle_;
    block_id = idle.front();
    idle.pop_front();
    cache_.Forget(block_id);
  }
  is_reused_[block_id] = false;
  num_holders_[block_id] = 1;
  return block_id;
}

void BlockPool::ShareReserved(int32_t block_id) {
  TakePromise();
  if (num_holders_[block_id]++ == 0) {
    LONGHAND_CHECK(cache_.Contains(block_id))
        << "block " << block_id << " is free, and holds nothing";
    IdleListOf(block_id).erase(idle_place_[block_id]);
  }
  is_reused_[block_id] = true;
}

void BlockPool::Free(std::span<const int32_t> block_ids) {
  for (auto it = block_ids.rbegin(); it != block_ids.rend(); ++it) {
    LONGHAND_CHECK(num_holders_[*it] > 0) << "block " << *it << " is freed twice";
    if (--num_holders_[*it] > 0) continue;
    if (cache_.Contains(*it)) {
      AddIdle(*it);
    } else {
      free_.push_back(*it);
    }
  }
}

void BlockPool::AddIdle(int32_t block_id) {
  std::list<int32_t>& idle = IdleListOf(block_id);
  idle_place_[block_id] = idle.insert(idle.end(), block_id);
  if (2 * static_cast<int64_t>(idle_reused_.size()) <= num_blocks()) return;
  is_reused_[idle_reused_.front()] = false;
  idle_.splice(idle_.end(), idle_reused_, idle_reused_.begin());
}

}  // namespace longhand::engine
