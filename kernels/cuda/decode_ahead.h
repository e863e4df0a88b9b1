// What a block of decode attention does ahead of its sums: it takes items, finds their tiles and
// starts to copy them into the ring.
#pragma once

#include "kernels/cuda/decode_ring.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Starts the copies of a block's tiles, ahead of their use.
template <typename Types>
class TilesAhead {
 public:
  using Memory = DecodeMemory<Types>;

  // From `item` on.
  __device__ TilesAhead(const PagedProblem<Types>& problem,
                        Memory& memory,
                        ItemQueue& queue,
                        int item)
      : problem_(problem),
        memory_(memory),
        queue_(queue),
        copies_(problem, memory.places),
        item_(item) {}

  // Copies the tile that was found: its keys are one group of copies, its values the next. Empty
  // ones after the last.
  __device__ __forceinline__ void Start() {
    if (item_ < memory_.list.end()) {
      copies_.Start(memory_.ring[next_][0], memory_.ring[next_][1]);
    } else {
      CommitCopies();
      CommitCopies();
    }
    next_ = next_ + 1 == kRingTiles ? 0 : next_ + 1;
  }
  // Finds the next tile, which may be copied once Keep was called by all.
  __device__ __forceinline__ void Find() {
    if (item_ >= memory_.list.end()) return;
    if (has_item_ && !at_.EndsItem()) {
      at_.Step();
      return copies_.Find(at_.key);
    }
    if (has_item_) {
      item_ = memory_.upcoming;
      at_.place = DecodeItems::After(at_.place);
    }
    has_item_ = true;
    if (item_ >= memory_.list.end()) {
      if (threadIdx.x == 0) memory_.items.items[at_.place].split = DecodeItems::kNone;
      return;
    }
    const DecodeItem found = memory_.list.ItemAt(problem_, item_, entry_);
    at_.Enter(found);
    copies_.Enter(found.rows);
    copies_.Find(at_.key);
    if (threadIdx.x == 0) {
      memory_.items.items[at_.place] = found;
      queue_.Take();
    }
  }
  __device__ __forceinline__ void Keep() {
    copies_.Keep();
    queue_.Publish(memory_.upcoming);
  }

  // The item that this block comes to next: behind the list's end, when all is found.
  __device__ int item() const { return item_; }

  __device__ __forceinline__ void WidenKeys(int tile) const {
    copies_.Widen(memory_.ring[tile][0], memory_.keys(tile));
  }
  __device__ __forceinline__ void WidenValues(int tile) const {
    copies_.Widen(memory_.ring[tile][1], memory_.values(tile));
  }

 private:
  const PagedProblem<Types>& problem_;
  Memory& memory_;
  ItemQueue& queue_;
  TileCopies<Types> copies_;
  DecodeCursor at_;
  bool has_item_ = false;
  int item_, entry_ = 0, next_ = 0;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
