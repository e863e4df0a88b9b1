// Checks of what index tensors hold, for backends whose tensors are in host memory. Cheap beside
// the operation itself.
#pragma once

#include <string_view>

#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"

namespace longhand::kernels {

// Every element of the i32 tensor is in [0, limit).
Status CheckIndices(std::string_view name, const TensorView& indices, int64_t limit);

// Every slot is -1 or names a slot of the cache.
Status CheckSlots(const TensorView& slot_mapping, const TensorView& kv_cache);

// cu_query_lens covers the queries, each context holds its queries, and the blocks of each context
// exist.
Status CheckSequences(const PagedAttentionArgs& args);

// Every adapter is -1 or one of those that there are, and no rank is above what there is room for.
Status CheckAdapters(const LoraArgs& args);

// Blocks exist, none is written twice, and none is both read and written.
Status CheckBlockPairs(const CopyBlocksArgs& args);

// cu_seqlens rises from 0 to num_tokens.
Status CheckSegments(const TensorView& cu_seqlens, int64_t num_tokens);

}  // namespace longhand::kernels
