// What the kernels over shards share.
#pragma once

#include "kernels/cuda/sampling_row.h"
#include "kernels/shard_sampling.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kCandidates = static_cast<int>(kShardCandidates);

__device__ __forceinline__ TokenKey LikeliestOfAll(const TokenKey* likeliest,
                                                   int num_ranks,
                                                   int num_rows,
                                                   int row) {
  TokenKey best = 0;
  for (int r = 0; r < num_ranks; ++r) {
    const TokenKey key = likeliest[int64_t{r} * num_rows + row];
    best = key > best ? key : best;
  }
  return best;
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
