#include "tests/simulator/plan_checker.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "coordinator/engine/sequence.h"
#include "tests/unit/coordinator/engine/fake_model.h"

namespace longhand::engine {

PlanChecker::PlanChecker(const EngineConfig& config, const GroupShape& shape)
    : config_(config),
      shape_(shape),
      blocks_(static_cast<size_t>(shape.num_blocks)),
      slots_(static_cast<size_t>(shape.num_blocks * shape.block_size)),
      host_slots_(static_cast<size_t>(shape.num_host_blocks * shape.block_size)) {}

template <typename... Parts>
void PlanChecker::Fail(const Parts&... parts) {
  if (!error_.empty()) return;
  std::ostringstream out;
  (out << ... << parts);
  error_ = out.str();
}

// A function of all tokens and pictures up to it.
void PlanChecker::OnSequence(int64_t sequence_id, const Request& request) {
  Sequence places;
  places.request = std::make_shared<const Request>(request);
  const int64_t num_prompt_tokens = request.num_prompt_tokens();
  std::vector<uint64_t>& contents = contents_[sequence_id];
  contents.clear();
  uint64_t context = 0;
  for (int64_t idx = 0; idx < num_prompt_tokens + request.max_tokens; ++idx) {
    uint64_t embedding =
        TokenEmbedding(idx < num_prompt_tokens ? request.token_ids[static_cast<size_t>(idx)]
                                               : OutputToken(sequence_id, idx - num_prompt_tokens));
    for (const ImageInput& image : request.images) {
      const int64_t row = idx - image.offset;
      if (row >= 0 && row < image.num_tokens) embedding = ImageEmbedding(image.hash, row);
    }
    contents.push_back(SlotValue(context, embedding, places.Position(idx).data()));
    context = Mix(context, contents.back());
  }
}

void PlanChecker::OnPlan(const StepPlan& plan, int64_t committed_step) {
  if (plan.step != last_step_ + 1) Fail("step ", plan.step, " follows ", last_step_);
  last_step_ = plan.step;
  for (const int64_t id : plan.released_sequences) Release(id);
  Move(plan.swaps_out, slots_, &host_slots_);
  for (const BlockCopy& copy : plan.swaps_in) CheckFree(copy.to, committed_step);
  Move(plan.swaps_in, host_slots_, &slots_);
  for (const BlockCopy& copy : plan.block_copies) CheckFree(copy.to, committed_step);
  Move(plan.block_copies, slots_, &slots_);
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
  for (const int32_t id : found->second.block_table) --blocks_[static_cast<size_t>(id)].num_owners;
  known_.erase(found);
}

void PlanChecker::Move(const std::vector<BlockCopy>& copies, const Slots& from, Slots* to) {
  for (const BlockCopy& copy : copies) {
    for (int64_t i = 0; i < shape_.block_size; ++i) {
      to->at(static_cast<size_t>(copy.to * shape_.block_size + i)) =
          from.at(static_cast<size_t>(copy.from * shape_.block_size + i));
    }
  }
}

void PlanChecker::CheckFree(int32_t block_id, int64_t committed_step) {
  const Block& block = blocks_.at(static_cast<size_t>(block_id));
  if (block.num_owners > 0)
    Fail("block ", block_id, " is to hold something else; ", block.num_owners,
         " sequences name it");
  if (block.last_step > committed_step)
    Fail("block ", block_id, " is to hold something else; step ", block.last_step,
         " names it still");
}

uint64_t& PlanChecker::Slot(const Known& known, int64_t idx) {
  const int64_t block_id = known.block_table[static_cast<size_t>(idx / shape_.block_size)];
  return slots_[static_cast<size_t>(block_id * shape_.block_size + idx % shape_.block_size)];
}

void PlanChecker::CheckChunk(const SequenceChunk& chunk, int64_t step, int64_t committed_step) {
  const int64_t id = chunk.sequence_id;
  if (!chunk.start.empty()) {
    if (known_.contains(id)) Fail("sequence ", id, " starts while it is known");
    // It may begin behind tokens that are in KV already.
    known_[id] = Known{{}, chunk.num_computed_tokens};
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
    // Nothing of it was there before this chunk.
    const auto begin = static_cast<int64_t>(known.block_table.size()) * shape_.block_size;
    if (begin >= chunk.num_computed_tokens) CheckFree(block_id, committed_step);
    ++blocks_.at(static_cast<size_t>(block_id)).num_owners;
    known.block_table.push_back(block_id);
  }
  known.num_tokens += static_cast<int64_t>(chunk.token_ids.size());
  const int64_t num_blocks = (known.num_tokens + shape_.block_size - 1) / shape_.block_size;
  if (num_blocks != static_cast<int64_t>(known.block_table.size()))
    return Fail("sequence ", id, " has ", known.block_table.size(), " blocks for ",
                known.num_tokens, " tokens");
  CheckContents(chunk, known);
  for (const int32_t block_id : known.block_table)
    blocks_[static_cast<size_t>(block_id)].last_step = step;
}

// What was there before is the sequence's own; what comes is nobody else's.
void PlanChecker::CheckContents(const SequenceChunk& chunk, const Known& known) {
  const std::vector<uint64_t>& contents = contents_.at(chunk.sequence_id);
  for (int64_t idx = 0; idx < chunk.num_computed_tokens; ++idx) {
    if (Slot(known, idx) != contents.at(static_cast<size_t>(idx)))
      return Fail("sequence ", chunk.sequence_id, " finds something else where its token ", idx,
                  " was");
  }
  for (int64_t idx = chunk.num_computed_tokens; idx < known.num_tokens; ++idx) {
    const int32_t block_id = known.block_table[static_cast<size_t>(idx / shape_.block_size)];
    if (blocks_[static_cast<size_t>(block_id)].num_owners != 1)
      Fail("sequence ", chunk.sequence_id, " writes to block ", block_id, ", which others name");
    Slot(known, idx) = contents.at(static_cast<size_t>(idx));
  }
}

void PlanChecker::OnQuiet() {
  if (!known_.empty()) Fail("workers still know ", known_.size(), " sequences");
}

}  // namespace longhand::engine
