// Whether attention by wgmma writes mma.sync's bits on this device, by trying both. Where it does
// not, or while that is not known, all attention keeps to mma.sync: a row has the same bits in
// decode as in prefill.
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cuda/attention_trial.h"
#include "kernels/cuda/prefill_tiles.h"
#include "kernels/cuda/vision_segments.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Two splits and a part of a third; rows of more than a block of each kernel.
constexpr int64_t kTokens = 200, kContext = 600, kBlockSize = 16;
constexpr int64_t kTableBlocks = (kContext + kBlockSize - 1) / kBlockSize;

class Trial : public AttentionTrial {
 public:
  using AttentionTrial::AttentionTrial;

  Result<bool> Paged() {
    constexpr int64_t kHeadDim = PrefillGroupTypes::kHeadDim;
    std::vector<int32_t> table(kTableBlocks);
    std::iota(table.rbegin(), table.rend(), 0);
    PagedAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.query, Values({kTokens, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.kv_cache, Values({2, kTableBlocks, kBlockSize, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.block_table, Numbers(table, {1, kTableBlocks}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, Numbers({0, kTokens}, {2}));
    LONGHAND_ASSIGN_OR_RETURN(args.context_len, Numbers({kContext}, {1}));
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_warps,
                              Run({kTokens, 1, kHeadDim}, args, &PagedPrefillByWarps));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_groups,
                              Run({kTokens, 1, kHeadDim}, args, &PagedPrefillByGroups));
    return by_warps == by_groups;
  }

  Result<bool> Vision() {
    constexpr int64_t kHeadDim = VisionGroupTypes::kHeadDim;
    VisionAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.qkv, Values({kContext, 3, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_seqlens, Numbers({0, kContext}, {2}));
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_warps,
                              Run({kContext, 1, kHeadDim}, args, &VisionByWarps));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_groups,
                              Run({kContext, 1, kHeadDim}, args, &VisionByGroups));
    return by_warps == by_groups;
  }
};

}  // namespace

Status PrepareAttention(Context& context) {
  AttentionState& state = context.attention_state;
  if (state.is_tried || context.stream.recording) return OkStatus();
  if (context.stream.may_have_wgmma) {
    Trial trial(context);
    LONGHAND_ASSIGN_OR_RETURN(state.prefill_has_wgmma, trial.Paged());
    LONGHAND_ASSIGN_OR_RETURN(state.vision_has_wgmma, trial.Vision());
    TryDecode(context, state);
  }
  state.is_tried = true;
  return OkStatus();
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
