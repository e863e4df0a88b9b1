// Scheduler::CheckInvariants: the invariants of README.md, in its order.
#include <algorithm>
#include <iterator>

#include "common/check.h"
#include "coordinator/engine/scheduler.h"

namespace longhand::engine {

void Scheduler::CheckSequence(const Sequence& sequence) const {
  const auto num_blocks = static_cast<int64_t>(sequence.block_table.size());
  LONGHAND_CHECK_LE(sequence.num_computed_tokens, sequence.num_planned_tokens);
  LONGHAND_CHECK_LE(sequence.num_planned_tokens, sequence.num_tokens());
  LONGHAND_CHECK_LE(sequence.num_planned_samples, sequence.request->max_tokens);
  LONGHAND_CHECK_LE(static_cast<int64_t>(sequence.output_token_ids.size()),
                    sequence.num_planned_samples);
  LONGHAND_CHECK(!sequence.waits_for_tokens ||
                 sequence.num_planned_samples <= std::ssize(sequence.output_token_ids) + 1)
      << "sequence " << sequence.id << " was planned before its tokens were known";
  LONGHAND_CHECK_EQ(num_blocks, NumBlocksFor(sequence.num_planned_tokens));
  LONGHAND_CHECK_LE(num_blocks, sequence.num_reserved_blocks);
  LONGHAND_CHECK_LE(sequence.num_prefilled_images, sequence.num_ready_images);
  LONGHAND_CHECK_LE(sequence.num_ready_images, sequence.num_acquired_images);
  LONGHAND_CHECK_LE(sequence.num_reserved_blocks, NumWholeBlocks(sequence));
  switch (sequence.phase) {
    case SequencePhase::kWaiting:
      LONGHAND_CHECK(!sequence.prefix.is_settled && num_blocks == 0);
      LONGHAND_CHECK(sequence.num_reserved_blocks == 0 && sequence.last_step == 0);
      LONGHAND_CHECK(sequence.swapped.block_ids.empty() || sequence.standing.was_preempted);
      return;
    case SequencePhase::kRunning:
      // Only the next token of a stream may lack a block.
      LONGHAND_CHECK_LE(NumBlocksFor(sequence.num_tokens()), sequence.num_reserved_blocks + 1);
      LONGHAND_CHECK(!IsShort(sequence) || sequence.IsDecoding());
      break;
    case SequencePhase::kPreempted:
      LONGHAND_CHECK_EQ(sequence.num_reserved_blocks, num_blocks);
      break;
    case SequencePhase::kFinished:
      LONGHAND_CHECK(sequence.last_step > committed_step_)
          << "sequence " << sequence.id << " was not retired";
      break;
  }
  LONGHAND_CHECK(sequence.swapped.block_ids.empty()) << "sequence " << sequence.id << " is here";
}

// Everybody who runs can come to his end, the oldest first.
void Scheduler::CheckPromises() const {
  int64_t num_held_blocks = 0;
  int64_t younger = next_admission_;
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    const Sequence& sequence = **it;
    LONGHAND_CHECK_LT(sequence.standing.admission, younger);
    younger = sequence.standing.admission;
    LONGHAND_CHECK_LE(NumWholeBlocks(sequence) + num_held_blocks, shape_.num_blocks);
    if (sequence.standing.was_preempted) num_held_blocks += sequence.num_reserved_blocks;
  }
  int64_t num_preempted = 0;
  for (const auto& [id, sequence] : sequences_) {
    const bool waits =
        sequence->phase == SequencePhase::kWaiting || sequence->phase == SequencePhase::kPreempted;
    num_preempted += waits && sequence->standing.was_preempted ? 1 : 0;
  }
  LONGHAND_CHECK_EQ(num_preempted, num_preempted_);
}

// A block has as many holders as there are tables that name it. Who shares a block writes behind it
// only: it is full, and everybody's tokens in it are the same.
void Scheduler::CheckBlocks() const {
  std::vector<int32_t> num_holders(static_cast<size_t>(shape_.num_blocks));
  std::vector<const Sequence*> holder(static_cast<size_t>(shape_.num_blocks));
  int64_t num_named_blocks = 0;
  int64_t num_reserved_blocks = 0;
  for (const auto& [id, sequence] : sequences_) {
    num_named_blocks += static_cast<int64_t>(sequence->block_table.size());
    num_reserved_blocks += sequence->num_reserved_blocks;
    for (size_t i = 0; i < sequence->block_table.size(); ++i) {
      const int32_t block_id = sequence->block_table[i];
      if (num_holders[block_id]++ == 0) {
        holder[block_id] = sequence.get();
        continue;
      }
      const Sequence& other = *holder[block_id];
      const auto end = static_cast<int64_t>(i + 1) * shape_.block_size;
      LONGHAND_CHECK(i < other.block_table.size() && other.block_table[i] == block_id)
          << "block " << block_id << " is at two places";
      for (const Sequence* one : {static_cast<const Sequence*>(sequence.get()), &other}) {
        LONGHAND_CHECK(end <= one->num_planned_tokens) << "block " << block_id << " is not full";
      }
      for (int64_t idx = end - shape_.block_size; idx < end; ++idx) {
        LONGHAND_CHECK_EQ(sequence->KnownToken(idx), other.KnownToken(idx)) << block_id;
      }
    }
  }
  int64_t num_held_blocks = 0;
  for (int64_t id = 0; id < shape_.num_blocks; ++id) {
    const auto block_id = static_cast<int32_t>(id);
    LONGHAND_CHECK_EQ(block_pool_.num_holders(block_id), num_holders[block_id]) << block_id;
    num_held_blocks += num_holders[block_id] > 0 ? 1 : 0;
  }
  LONGHAND_CHECK_EQ(block_pool_.num_free() + num_held_blocks, block_pool_.num_blocks());
  LONGHAND_CHECK_LE(block_pool_.num_idle(), prefix_cache_.num_entries());
  LONGHAND_CHECK_EQ(block_pool_.num_reserved(), num_reserved_blocks - num_named_blocks);
  LONGHAND_CHECK_GE(block_pool_.num_available(), 0);
}

// A host block belongs to one sequence, which waits, and holds tokens of it.
void Scheduler::CheckHostBlocks() const {
  std::vector<bool> is_named(static_cast<size_t>(shape_.num_host_blocks));
  int64_t num_named = 0;
  for (const auto& [id, sequence] : sequences_) {
    const SwappedBlocks& swapped = sequence->swapped;
    LONGHAND_CHECK_EQ(static_cast<int64_t>(swapped.block_ids.size()),
                      NumBlocksFor(swapped.num_tokens));
    LONGHAND_CHECK_LT(swapped.num_tokens, sequence->num_tokens());
    for (const int32_t block_id : swapped.block_ids) {
      LONGHAND_CHECK(host_blocks_.is_taken(block_id)) << "host block " << block_id << " is free";
      LONGHAND_CHECK(!is_named[static_cast<size_t>(block_id)])
          << "host block " << block_id << " is of two sequences";
      is_named[static_cast<size_t>(block_id)] = true;
      ++num_named;
    }
  }
  LONGHAND_CHECK_EQ(host_blocks_.num_free() + num_named, host_blocks_.num_blocks());
}

void Scheduler::CheckInvariants() const {
  int64_t num_image_users = 0;
  for (const auto& [id, sequence] : sequences_) {
    CheckSequence(*sequence);
    num_image_users +=
        static_cast<int64_t>(sequence->num_acquired_images - sequence->num_prefilled_images);
  }
  CheckBlocks();
  CheckHostBlocks();
  encoder_cache_.CheckInvariants(num_image_users);

  LONGHAND_CHECK_LE(num_running(), config_.max_num_seqs);
  // Those of a lost group wait again.
  LONGHAND_CHECK_LE(num_waiting(), config_.max_waiting_seqs + config_.max_num_seqs);
  for (const Sequence* sequence : running_) {
    LONGHAND_CHECK(!sequence->on_probation || !AnotherIsOnProbation(*sequence))
        << "two requests are on probation at once";
  }
  const int64_t num_open = num_waiting() + num_running();
  LONGHAND_CHECK_EQ(num_open + static_cast<int64_t>(retiring_.size()),
                    static_cast<int64_t>(sequences_.size()));
  waiting_.CheckInvariants(num_open);
  CheckPromises();

  LONGHAND_CHECK_LE(num_steps_in_flight(), config_.pipeline_depth + 1);
  int64_t due_step = committed_step_ + 1;
  for (const StepInFlight& step : in_flight_) {
    LONGHAND_CHECK_EQ(step.step, due_step++);
    int64_t num_tokens = 0;
    for (const PlannedChunk& chunk : step.chunks) num_tokens += chunk.num_tokens;
    LONGHAND_CHECK_LE(num_tokens, config_.max_num_batched_tokens);
    LONGHAND_CHECK_LE(static_cast<int64_t>(step.chunks.size()), config_.max_num_seqs);
  }
  LONGHAND_CHECK_EQ(next_step_, due_step);
}

}  // namespace longhand::engine
