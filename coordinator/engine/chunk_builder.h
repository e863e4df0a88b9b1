// From a sequence's counters to the chunk that the workers run.
#pragma once

#include <cstdint>

#include "common/step_plan.h"
#include "coordinator/engine/block_pool.h"
#include "coordinator/engine/sequence.h"

namespace longhand::engine {

// Plans the sequence's next `num_tokens` tokens for `step`: takes the blocks they need from its
// reservation, advances the planned counts. Samples when the chunk reaches the last token there is.
SequenceChunk BuildChunk(
    Sequence& sequence, int64_t num_tokens, int64_t step, int32_t block_size, BlockPool& pool);

}  // namespace longhand::engine
