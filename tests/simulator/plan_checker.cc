#include "tests/simulator/plan_checker.h"

#include <set>
#include <sstream>

namespace longhand::engine {

PlanChecker::PlanChecker(const EngineConfig& config, const GroupShape& shape)
    : config_(config), shape_(shape), blocks_(static_cast<size_t>(shape.num_blocks)) {}

template <typename... Parts>
void PlanChecker::Fail(const Parts&... parts) {
  if (!error_.empty()) return;
  std::ostringstream out;
  (out << ... << parts);
  error_ = out.str();
}

int64_t PlanChecker::num_tokens(int64_t sequence_id) const {
  const auto found = known_.find(sequence_id);
  return found == known_.end() ? 0 : found->second.num_tokens;
}

void PlanChecker::OnPlan(const StepPlan& plan, int64_t committed_step) {
  if (plan.step != last_step_ + 1) Fail("step ", plan.step, " follows ", last_step_);
  last_step_ = plan.step;
  for (const int64_t id : plan.released_sequences) Release(id);
  if (plan.num_tokens() > config_.max_num_batched_tokens)
    Fail("step ", plan.step, " has ", plan.num_tokens(), " tokens");
  std::set<int64_t> named;
  int64_t num_prefill_tokens = 0;
  bool has_streams = false;
  for (const SequenceChunk& chunk : plan.chunks) {
    if (!named.insert(chunk.sequence_id).second) Fail("two chunks of ", chunk.sequence_id);
    const bool is_stream = chunk.token_ids.size() == 1 && chunk.sample && chunk.output_position > 0;
    has_streams |= is_stream;
    if (!is_stream) num_prefill_tokens += static_cast<int64_t>(chunk.token_ids.size());
    CheckChunk(chunk, plan.step, committed_step);
  }
  if (has_streams && num_prefill_tokens > config_.max_num_prefill_tokens)
    Fail("streams wait for ", num_prefill_tokens, " prompt tokens in step ", plan.step);
  if (static_cast<int64_t>(known_.size()) > config_.max_num_seqs)
    Fail("workers know ", known_.size(), " sequences");
}

void PlanChecker::Release(int64_t sequence_id) {
  const auto found = known_.find(sequence_id);
  if (found == known_.end()) return Fail("sequence ", sequence_id, " is released, but unknown");
  for (const int32_t id : found->second.block_table) blocks_[static_cast<size_t>(id)].owner = 0;
  known_.erase(found);
}

void PlanChecker::CheckChunk(const SequenceChunk& chunk, int64_t step, int64_t committed_step) {
  const int64_t id = chunk.sequence_id;
  if (!chunk.start.empty()) {
    if (known_.contains(id)) Fail("sequence ", id, " starts while it is known");
    known_[id] = Known{};
    if (++num_starts_[id] > 2) Fail("sequence ", id, " was preempted twice");
  }
  const auto found = known_.find(id);
  if (found == known_.end()) return Fail("sequence ", id, " never started");
  Known& known = found->second;
  if (chunk.num_computed_tokens != known.num_tokens)
    Fail("sequence ", id, " goes on at ", chunk.num_computed_tokens, "; it has ", known.num_tokens);
  if (chunk.first_block_idx != static_cast<int32_t>(known.block_table.size()))
    Fail("sequence ", id, " has a gap in its block table");
  for (const int32_t block_id : chunk.new_block_ids) {
    Block& block = blocks_.at(static_cast<size_t>(block_id));
    if (block.owner != 0) Fail("block ", block_id, " of ", block.owner, " is given to ", id);
    if (block.last_step > committed_step)
      Fail("block ", block_id, " is given to ", id, "; step ", block.last_step, " names it still");
    block.owner = id;
    known.block_table.push_back(block_id);
  }
  known.num_tokens += static_cast<int64_t>(chunk.token_ids.size());
  const int64_t num_blocks = (known.num_tokens + shape_.block_size - 1) / shape_.block_size;
  if (num_blocks != static_cast<int64_t>(known.block_table.size()))
    Fail("sequence ", id, " has ", known.block_table.size(), " blocks for ", known.num_tokens,
         " tokens");
  for (const int32_t block_id : known.block_table)
    blocks_[static_cast<size_t>(block_id)].last_step = step;
}

void PlanChecker::OnQuiet() {
  if (!known_.empty()) Fail("workers still know ", known_.size(), " sequences");
}

}  // namespace longhand::engine
