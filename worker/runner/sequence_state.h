// SequenceState: what a worker knows of a sequence between steps. Made of plans alone, never of
// what steps sampled: a step may begin before the one ahead of it has ended.
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
  std::vector<TokenBias> biases;
  int32_t adapter = -1;  // slot, or none
  std::vector<int32_t> block_table;
  // Its row of the TokenHistory: the prompt's tokens and then the answer's, or with prompt_len 0
  // the answer's alone. -1: none yet.
  int32_t history_row = -1;
  int32_t prompt_len = 0;
  // Of the answer, in that row, without a gap.
  int32_t output_len = 0;
  // Where the latest step's token is, in the answer: the value of kTokenOnDevice.
  std::optional<int32_t> last_output_position;
};

using SequenceStates = std::unordered_map<int64_t, SequenceState>;

// Starts the sequence when the chunk says so, and takes its new blocks into the block table. The
// chunk has been checked.
SequenceState& ApplyChunk(const SequenceChunk& chunk, SequenceStates* states);

// Once the step that samples is enqueued: its token is the latest. Sampling an earlier position
// again drops what was behind it.
void NoteSampled(const SequenceChunk& chunk, SequenceState* state);

}  // namespace longhand::runner
