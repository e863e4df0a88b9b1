// Which rows a block of the ViT's attention takes.
#pragma once

#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {

template <typename A>
struct VisionProblem {
  const A* qkv;
  const int32_t* cu_seqlens;
  A* out;
  int num_segments, num_heads, head_dim;
  float logit_scale;
};

struct SegmentRows {
  int first_token, num_tokens;  // of the segment
  int first_row;                // of the tile; may lie after the segment's
};

template <int kRows, typename A>
__device__ __forceinline__ SegmentRows SegmentOf(const VisionProblem<A>& problem, int tile) {
  const auto first_tile = [&](int segment) {
    return problem.cu_seqlens[segment] / kRows + segment;
  };
  int segment = 0, end = problem.num_segments;
  while (end - segment > 1) {
    const int middle = (segment + end) / 2;
    (first_tile(middle) <= tile ? segment : end) = middle;
  }
  const int first_token = problem.cu_seqlens[segment];
  return {first_token, problem.cu_seqlens[segment + 1] - first_token,
          (tile - first_tile(segment)) * kRows};
}

// kernels/cuda/vision_attention.cu, by mma.sync, and vision_groups.cu, by wgmma, of which
// attention_trial.cu says whether it has the same bits.
using VisionGroupTypes = AttentionTypes<DeviceBf16, DeviceBf16, 80>;
Status VisionByWarps(Context& context, const VisionAttentionArgs& args);
Status VisionByGroups(Context& context, const VisionAttentionArgs& args);

}  // namespace longhand::kernels::LONGHAND_DEVICE
