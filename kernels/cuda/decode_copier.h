// The warp that copies for decode attention by wgmma: it takes items from the list, and has the
// copy engine bring their tiles of keys and values into the ring, a KV block a copy.
#pragma once

#include "kernels/cuda/decode_group_memory.h"
#include "kernels/cuda/tensor_map.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Keys that a copy brings: of a KV block as many as a tile has; a power of two.
__host__ __device__ constexpr int BoxKeys(int block_size) {
  return block_size < kTileKeys ? block_size : kTileKeys;
}
// Whether tiles are made of whole boxes.
inline bool HasBoxes(int64_t block_size) {
  return block_size >= 16 && (kTileKeys % block_size == 0 || block_size % kTileKeys == 0);
}

// The cache as boxes of a KV head's keys, or values, lie in a tile: 64 elements, eight slots, the
// halves of the head, groups of eight slots (of the keys, then of the values), KV heads.
inline Result<TensorMap> MapOfCache(const PagedProblem<DecodeGroupTypes>& problem) {
  constexpr int64_t kHalfBytes = 128, kHeadBytes = 2 * kHalfBytes;
  const int64_t slot_bytes = problem.num_kv_heads * kHeadBytes;
  return MakeTensorMap<5>(problem.kv_cache,
                          {.sizes = {64, 8, 2, 2 * problem.num_slots / 8, problem.num_kv_heads},
                           .strides = {0, slot_bytes, kHalfBytes, 8 * slot_bytes, kHeadBytes},
                           .box = {64, 8, 2, BoxKeys(problem.block_size) / 8, 1},
                           .is_swizzled = true});
}

class DecodeCopier {
 public:
  using Problem = PagedProblem<DecodeGroupTypes>;

  __device__ DecodeCopier(const Problem& problem,
                          const TensorMap& cache,
                          uint32_t* queue,
                          DecodeGroupMemory& memory)
      : problem_(problem),
        cache_(cache),
        queue_(queue),
        memory_(memory),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        box_keys_(BoxKeys(problem.block_size)),
        item_(static_cast<int>(blockIdx.x)) {}

  // By all lanes.
  __device__ __forceinline__ void Run() {
    while (Find()) Copy();
    if (lane_ == 0) {
      Place().split = DecodeItems::kNone;
      Arrive(memory_.items_there[cursor_.place]);
      queue_.Leave();
    }
  }

 private:
  // Finds the next tile; false behind the last. The block table is read while the tile before is
  // copied: nothing waits for it here.
  __device__ __forceinline__ bool Find() {
    if (has_item_ && !cursor_.EndsItem()) {
      cursor_.Step();
    } else if (!FindItem()) {
      return false;
    }
    const int key = cursor_.key + lane_ * box_keys_;
    has_box_ = key < cursor_.end && lane_ * box_keys_ < kTileKeys;
    if (has_box_) {
      const int block = problem_.by_block.Quotient(key);
      in_block_ = problem_.by_block.Remainder(key, block);
      block_ = block_table_[block];
    }
    return true;
  }

  // Where the others are told of an item, once all of them have read what was there.
  __device__ __forceinline__ DecodeItem& Place() {
    WaitFor(memory_.items_free[cursor_.place], item_parity_ ^ 1);
    return memory_.items.items[cursor_.place];
  }

  // Takes the next item and tells the others of it.
  __device__ __forceinline__ bool FindItem() {
    if (has_item_) {
      cursor_.place = DecodeItems::After(cursor_.place);
      if (cursor_.place == 0) item_parity_ ^= 1;
      item_ = __shfl_sync(kAllLanes, queue_.taken(), 0);
    }
    while (item_ >= end_) {
      if (first_ >= problem_.num_seqs) return false;
      memory_.list.FillByWarp(problem_, first_, end_);
      end_ = memory_.list.end();
      first_ += DecodeGroupMemory::kListEntries;
      entry_ = 0;
    }
    has_item_ = true;
    const DecodeItem found = memory_.list.ItemAt(problem_, item_, entry_);
    cursor_.Enter(found);
    block_table_ = problem_.block_table + int64_t{found.rows.first_seq} * problem_.max_blocks;
    kv_head_ = found.rows.first.kv_head;
    if (lane_ == 0) {
      Place() = found;
      Arrive(memory_.items_there[cursor_.place]);
      queue_.Take();
    }
    return true;
  }

  __device__ __forceinline__ void Copy() {
    WaitFor(memory_.keys_free[at_.stage], at_.parity ^ 1);
    CopySide(memory_.keys[at_.stage], memory_.keys_there[at_.stage], 0);
    WaitFor(memory_.values_free[at_.stage], at_.parity ^ 1);
    CopySide(memory_.values[at_.stage], memory_.values_there[at_.stage],
             static_cast<int>(problem_.num_slots / 8));
    at_.Advance();
  }

  // Of the blocks that the sequence has, a lane each.
  __device__ __forceinline__ void CopySide(unsigned char* to, MBarrier& there, int first_group) {
    constexpr int kKeyBytes = kKeyGroupBytes / 8;
    const int num_keys = min(cursor_.end - cursor_.key, kTileKeys);
    if (lane_ == 0) {
      ArriveExpecting(there, ((num_keys + box_keys_ - 1) & -box_keys_) * kKeyBytes);
    }
    __syncwarp();
    if (has_box_) {
      const int group = first_group + (block_ * problem_.block_size + in_block_) / 8;
      CopyBox(to + lane_ * box_keys_ * kKeyBytes, cache_, {0, 0, 0, group, kv_head_}, there);
    }
  }

  const Problem& problem_;
  const TensorMap& cache_;
  ItemQueue queue_;
  DecodeGroupMemory& memory_;
  int lane_, box_keys_;
  // The list: the item that is copied, the sequences that were looked at and their items' end.
  int item_, first_ = 0, end_ = 0, entry_ = 0;
  bool has_item_ = false;
  const int32_t* block_table_ = nullptr;
  int kv_head_ = 0;
  DecodeCursor cursor_;
  int item_parity_ = 0;  // of the phase that items' barriers are in at its place
  RingPosition<kRingTiles> at_;
  // Of the lane's box.
  bool has_box_ = false;
  int block_ = 0, in_block_ = 0;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
