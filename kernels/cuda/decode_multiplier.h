// The warps that multiply for decode attention by wgmma: they go through the items that the copying
// one tells them of, and join what is complete.
#pragma once

#include "kernels/cuda/decode_groups.h"
#include "kernels/cuda/decode_join.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// The rows of an item that go through its split together.
struct RowsHere {
  unsigned item = 0;  // of the block's
  int first_row = 0;

  __device__ int place() const { return static_cast<int>(item % DecodeItems::kPlaces); }
  __device__ int parity() const { return static_cast<int>(item / DecodeItems::kPlaces % 2); }
};

class DecodeMultiplier {
 public:
  using Problem = PagedProblem<DecodeGroupTypes>;

  __device__ DecodeMultiplier(const Problem& problem,
                              const Partials& partials,
                              DecodeGroupMemory& memory)
      : problem_(problem), partials_(partials), memory_(memory) {}

  __device__ __forceinline__ void Run() {
    RowsHere here;
    if (!Begin(here)) return;
    bool more = true;
    while (more) {
      const int count = Uniform(memory_.items.items[here.place()].rows.count());
      more = count - here.first_row <= 8 ? Attend<1>(here) : Attend<2>(here);
    }
  }

 private:
  // Starts the queries, once it is known whose: false where no item comes.
  __device__ __forceinline__ bool Begin(const RowsHere& here) {
    const DecodeItem& item = memory_.items.items[here.place()];
    if (here.first_row == 0) {
      WaitFor(memory_.items_there[here.place()], here.parity());
      if (Uniform(item.split) == DecodeItems::kNone) return false;
    }
    StartQueries(problem_, item.rows, here.first_row, memory_.queries);
    return true;
  }

  // 8 kTiles rows, whose queries were started; then starts those of the next and moves on.
  template <int kTiles>
  __device__ __forceinline__ bool Attend(RowsHere& here) {
    const DecodeItem item = memory_.items.items[here.place()];
    const SplitRows& rows = item.rows;
    const int split = Uniform(item.split), end = Uniform(rows.first.context_len);
    const bool ends = here.first_row + kWarpRows >= Uniform(rows.count());
    if (ends) Arrive(memory_.items_free[here.place()]);
    GroupSplit<kTiles> sums(memory_, rows, here.first_row, problem_.logit_scale);
    sums.Run(SplitBegin(split), min(SplitBegin(split + 1), end), at_);
    here = ends ? RowsHere{here.item + 1, 0} : RowsHere{here.item, here.first_row + kWarpRows};
    const bool more = Begin(here);
    sums.Store(problem_, partials_, rows, split);
    if (ends) {
      FinishItem<DecodeGroupTypes, kDecodeGroupThreads>(problem_, partials_, rows, item.place,
                                                        memory_.complete);
    }
    return more;
  }

  const Problem& problem_;
  const Partials& partials_;
  DecodeGroupMemory& memory_;
  RingPosition<kRingTiles> at_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
