#include "worker/runner/sequence_state.h"

#include <algorithm>

namespace longhand::runner {

SequenceState& ApplyChunk(const SequenceChunk& chunk, SequenceStates* states) {
  SequenceState& state = (*states)[chunk.sequence_id];
  if (!chunk.start.empty()) {
    const SequenceStart& start = chunk.start.front();
    state = SequenceState{.sampling = start.sampling,
                          .prompt_token_ids = start.prompt_token_ids,
                          .output_token_ids = start.output_token_ids};
  }
  const auto first = static_cast<size_t>(chunk.first_block_idx);
  const size_t end = first + chunk.new_block_ids.size();
  if (state.block_table.size() < end) state.block_table.resize(end);
  std::copy(chunk.new_block_ids.begin(), chunk.new_block_ids.end(),
            state.block_table.begin() + static_cast<int64_t>(first));
  // A step that samples an earlier position again replaces what came after it.
  if (chunk.sample && state.sampling.HasPenalties()) {
    state.output_token_ids.resize(static_cast<size_t>(chunk.output_position));
  }
  return state;
}

void RecordSampledToken(int32_t token_id, SequenceState* state) {
  state->last_token = token_id;
  if (state->sampling.HasPenalties()) state->output_token_ids.push_back(token_id);
}

}  // namespace longhand::runner
