// Which rows a block of prefill takes.
#pragma once

#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Row tile t is in the last sequence s with FirstTile(s) <= t, and may lie after its rows.
template <int kTileRows, typename Types>
__device__ int FirstTile(const PagedProblem<Types>& problem, int seq, int group) {
  return static_cast<int>(int64_t{problem.cu_query_lens[seq]} * group / kTileRows) + seq;
}
template <int kTileRows, typename Types>
__device__ int SeqOfTile(const PagedProblem<Types>& problem, int tile, int group) {
  int seq = 0, end = problem.num_seqs;
  while (end - seq > 1) {
    const int middle = (seq + end) / 2;
    (FirstTile<kTileRows>(problem, middle, group) <= tile ? seq : end) = middle;
  }
  return seq;
}

// kernels/cuda/paged_prefill.cu, by mma.sync, and prefill_groups.cu, by wgmma, of which
// attention_trial.cu says whether it has the same bits.
using PrefillGroupTypes = AttentionTypes<DeviceBf16, DeviceBf16, 128>;
Status PagedPrefillByWarps(Context& context, const PagedAttentionArgs& args);
Status PagedPrefillByGroups(Context& context, const PagedAttentionArgs& args);

}  // namespace longhand::kernels::LONGHAND_DEVICE
