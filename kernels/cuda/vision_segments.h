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

// Of a segment and a head: tokens lie `stride` elements apart, a token's key `width` behind its
// query, and its value as far behind the key.
template <typename A>
__device__ __forceinline__ KeyRows<A> KeysOf(const A* first_query,
                                             int64_t width,
                                             int64_t stride,
                                             int num_tokens) {
  constexpr int kBlockSize = 1, kBlockShift = 0, kScaleStride = 0;
  return {{first_query + width, nullptr},
          {first_query + 2 * width, nullptr},
          /*block_table=*/nullptr,
          kBlockSize,
          kBlockShift,
          stride,
          num_tokens,
          kScaleStride,
          /*fp8=*/false};
}

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
