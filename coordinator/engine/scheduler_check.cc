// Scheduler::CheckInvariants: the invariants of README.md, in its order.
#include <algorithm>

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
  LONGHAND_CHECK_EQ(num_blocks, NumBlocksFor(sequence.num_planned_tokens));
  LONGHAND_CHECK_LE(num_blocks, sequence.num_reserved_blocks);
  LONGHAND_CHECK_LE(sequence.num_prefilled_images, sequence.num_ready_images);
  LONGHAND_CHECK_LE(sequence.num_ready_images, sequence.num_acquired_images);
  switch (sequence.phase) {
    case SequencePhase::kWaiting:
      LONGHAND_CHECK(sequence.num_reserved_blocks == 0 && sequence.last_step == 0);
      break;
    case SequencePhase::kRunning:
      LONGHAND_CHECK_EQ(sequence.num_reserved_blocks, NumBlocksFor(sequence.max_num_tokens()));
      break;
    case SequencePhase::kFinished:
      LONGHAND_CHECK(sequence.last_step > committed_step_)
          << "sequence " << sequence.id << " was not retired";
      break;
  }
}

void Scheduler::CheckInvariants() const {
  std::vector<bool> in_table(static_cast<size_t>(shape_.num_blocks));
  int64_t num_owned_blocks = 0;
  int64_t num_reserved_blocks = 0;
  int64_t num_image_users = 0;
  for (const auto& [id, sequence] : sequences_) {
    CheckSequence(*sequence);
    num_owned_blocks += static_cast<int64_t>(sequence->block_table.size());
    num_reserved_blocks += sequence->num_reserved_blocks;
    num_image_users +=
        static_cast<int64_t>(sequence->num_acquired_images - sequence->num_prefilled_images);
    for (const int32_t block_id : sequence->block_table) {
      LONGHAND_CHECK(!in_table[block_id]) << "block " << block_id << " is in two tables";
      LONGHAND_CHECK(block_pool_.is_owned(block_id))
          << "block " << block_id << " is in a table and free";
      in_table[block_id] = true;
    }
  }
  LONGHAND_CHECK_EQ(block_pool_.num_free() + num_owned_blocks, block_pool_.num_blocks());
  LONGHAND_CHECK_EQ(block_pool_.num_reserved(), num_reserved_blocks - num_owned_blocks);
  LONGHAND_CHECK_GE(block_pool_.num_available(), 0);
  encoder_cache_.CheckInvariants(num_image_users);

  LONGHAND_CHECK_LE(num_running(), config_.max_num_seqs);
  // Those of a lost group wait again.
  LONGHAND_CHECK_LE(num_waiting(), config_.max_waiting_seqs + config_.max_num_seqs);
  for (const Sequence* sequence : running_) {
    LONGHAND_CHECK(!sequence->on_probation || !AnotherIsOnProbation(*sequence))
        << "two requests are on probation at once";
  }
  LONGHAND_CHECK_EQ(waiting_.size() + running_.size() + retiring_.size(), sequences_.size());
  // Who is in the queue came after everyone who was admitted.
  for (const Sequence* sequence : running_) {
    LONGHAND_CHECK(waiting_.empty() || sequence->id < waiting_.begin()->first)
        << "sequence " << sequence->id << " overtook " << waiting_.begin()->first;
  }

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
