#include "worker/runner/sequence_state.h"

#include <algorithm>

namespace longhand::runner {

SequenceState& ApplyChunk(const SequenceChunk& chunk, SequenceStates* states) {
  SequenceState& state = (*states)[chunk.sequence_id];
  if (!chunk.start.empty()) {
    const SequenceStart& start = chunk.start.front();
    state = SequenceState{.sampling = start.sampling,
                          .biases = start.biases,
                          .adapter = start.adapter,
                          .block_table = {},
                          .history_row = state.history_row,
                          .prompt_len = static_cast<int32_t>(start.prompt_token_ids.size()),
                          .output_len = static_cast<int32_t>(start.output_token_ids.size())};
  }
  const auto first = static_cast<size_t>(chunk.first_block_idx);
  const size_t end = first + chunk.new_block_ids.size();
  if (state.block_table.size() < end) state.block_table.resize(end);
  std::copy(chunk.new_block_ids.begin(), chunk.new_block_ids.end(),
            state.block_table.begin() + static_cast<int64_t>(first));
  return state;
}

void NoteSampled(const SequenceChunk& chunk, SequenceState* state) {
  const auto position = static_cast<int32_t>(chunk.output_position);
  state->last_output_position = position;
  state->output_len = position + 1;
}

}  // namespace longhand::runner
