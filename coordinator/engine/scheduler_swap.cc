// Scheduler: what preempted sequences have computed, kept in host memory until they run again.
//
// A plan's swaps out come first, then its swaps in, then copies and chunks, and plans run in order.
// So blocks that are swapped out are free for the same plan already, and host blocks that are
// swapped in are free for the next one.
#include <algorithm>
#include <utility>

#include "coordinator/engine/scheduler.h"

namespace longhand::engine {

// As many of the first blocks as find room. No step in flight names the sequence.
void Scheduler::SwapOut(Sequence& sequence, StepPlan* plan) {
  SwappedBlocks& swapped = sequence.swapped;
  const int64_t num_blocks =
      std::min(static_cast<int64_t>(sequence.block_table.size()), host_blocks_.num_free());
  for (int64_t i = 0; i < num_blocks; ++i) {
    swapped.block_ids.push_back(host_blocks_.Take());
    plan->swaps_out.push_back(
        {sequence.block_table[static_cast<size_t>(i)], swapped.block_ids.back()});
  }
  swapped.num_tokens =
      std::min(sequence.num_computed_tokens, num_blocks * int64_t{shape_.block_size});
}

// What the prefix cache has still is not copied.
void Scheduler::SwapIn(Sequence& sequence, StepPlan* plan) {
  ReuseCached(sequence);
  const SwappedBlocks swapped = std::exchange(sequence.swapped, {});
  for (size_t i = sequence.block_table.size(); i < swapped.block_ids.size(); ++i) {
    sequence.block_table.push_back(block_pool_.TakeReserved());
    plan->swaps_in.push_back({swapped.block_ids[i], sequence.block_table.back()});
  }
  host_blocks_.Free(swapped.block_ids);
  StartAt(sequence, std::max(sequence.num_planned_tokens, swapped.num_tokens));
}

}  // namespace longhand::engine
