// SequenceState: what a worker knows of a sequence between steps. Rebuilt from plans, never more.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/sampling_params.h"
#include "common/step_plan.h"

namespace longhand::runner {

struct SequenceState {
  SamplingParams sampling;
  std::vector<int32_t> block_table;
  // Tokens that penalties count; both stay empty without penalties.
  std::vector<int32_t> prompt_token_ids;
  std::vector<int32_t> output_token_ids;
  // What the latest step sampled: the value of kTokenOnDevice.
  std::optional<int32_t> last_token;
};

using SequenceStates = std::unordered_map<int64_t, SequenceState>;

// Starts the sequence when the chunk says so, and takes its new blocks into the block table. The
// chunk has been checked.
SequenceState& ApplyChunk(const SequenceChunk& chunk, SequenceStates* states);

// Takes in the token that the step sampled.
void RecordSampledToken(int32_t token_id, SequenceState* state);

}  // namespace longhand::runner
