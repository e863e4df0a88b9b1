// Scheduler: what running sequences are promised, and who has to go when it was too little.
//
// Whoever was admitted first goes before whoever came later, in everything here. The oldest gets
// all that it can ever need, so it always gets on; when it is over the next one is the oldest: so
// whatever was admitted comes to its end. A sequence that was preempted once is never preempted
// again; instead it grows only as far as everybody older could still be given his whole promise
// (IsSafe), and waits for them where that is not so.
#include <algorithm>

#include "common/check.h"
#include "coordinator/engine/scheduler.h"

namespace longhand::engine {
namespace {

// The oldest sequences have their whole promise as long as these take one part in so many.
constexpr int64_t kWholeShare = 4;

}  // namespace

// The expected length; of an answer that has come so far already, half as much again.
int64_t Scheduler::NumPromisedBlocks(const Sequence& sequence) const {
  const int64_t num_output = sequence.num_planned_samples;
  const int64_t expected = std::max(sequence.expected_tokens, num_output + num_output / 2 + 1);
  return NumBlocksFor(sequence.request->num_prompt_tokens() +
                      std::min(expected, sequence.request->max_tokens));
}

void Scheduler::ExtendPromises(StepPlan* plan) {
  is_tight_ = false;
  int64_t num_coming_blocks = 0;  // of those that leave, claimed by nobody yet
  for (const Sequence* sequence : leaving_)
    num_coming_blocks += static_cast<int64_t>(sequence->block_table.size());
  int64_t num_whole_blocks = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    num_whole_blocks += NumWholeBlocks(sequence);
    if (i == 0 || num_whole_blocks <= shape_.num_blocks / kWholeShare) {
      if (Extend(sequence, NumWholeBlocks(sequence))) continue;
      is_tight_ |= i == 0;
    }
    if (!sequence.CanAdvance() || !IsShort(sequence)) continue;
    if (Extend(sequence, NumPromisedBlocks(sequence))) continue;
    is_tight_ |= !MakeRoom(i, &num_coming_blocks, plan);
  }
}

// False, and nothing is changed, when there are too few blocks, or it would not be safe.
bool Scheduler::Extend(Sequence& sequence, int64_t num_blocks) {
  const int64_t count = num_blocks - sequence.num_reserved_blocks;
  if (count <= 0) return true;
  if (!IsSafe(sequence, num_blocks)) return false;
  if (!block_pool_.Reserve(count)) return false;
  sequence.num_reserved_blocks = num_blocks;
  return true;
}

// Blocks for the next token of a running sequence, at the cost of younger ones if need be. False
// when it has to wait for them.
bool Scheduler::MakeRoom(size_t running_idx, int64_t* num_coming_blocks, StepPlan* plan) {
  Sequence& sequence = *running_[running_idx];
  const int64_t num_blocks = NumBlocksFor(sequence.num_tokens());
  if (!IsSafe(sequence, num_blocks)) return false;  // then no victim helps
  while (!Extend(sequence, num_blocks)) {
    const int64_t num_missing =
        num_blocks - sequence.num_reserved_blocks - block_pool_.num_available();
    if (*num_coming_blocks >= num_missing) {
      *num_coming_blocks -= num_missing;
      return false;
    }
    Sequence* const victim = FindVictim(running_idx);
    if (victim == nullptr) return false;
    Preempt(*victim);
    if (victim->last_step > committed_step_) {
      *num_coming_blocks += static_cast<int64_t>(victim->block_table.size());
    } else {
      RequeuePreempted(plan);
    }
  }
  return true;
}

// Whether everybody who runs could still come to his end, one after the other by admission, if
// `changed` held `num_blocks`: each must find his whole promise beside what those hold that are
// younger and cannot be preempted any more.
bool Scheduler::IsSafe(const Sequence& changed, int64_t num_blocks) const {
  const Standing& standing = changed.standing;
  // Nothing changes for others by who can be preempted, nor for himself if he runs, or never ran
  // and so is the youngest.
  const bool runs = changed.phase == SequencePhase::kRunning;
  if (!standing.was_preempted && (runs || standing.admission == 0)) return true;
  int64_t num_held = 0;
  const auto fits = [&](const Sequence& sequence, int64_t num_reserved) {
    if (NumWholeBlocks(sequence) + num_held > shape_.num_blocks) return false;
    if (sequence.standing.was_preempted) num_held += num_reserved;
    return true;
  };
  bool is_counted = false;
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    if (!is_counted && (*it)->standing.admission <= standing.admission) {
      is_counted = true;
      if (!fits(changed, num_blocks)) return false;
    }
    if (*it != &changed && !fits(**it, (*it)->num_reserved_blocks)) return false;
  }
  return is_counted || fits(changed, num_blocks);
}

// Of those admitted later, the one of the lowest priority; among such the youngest.
Sequence* Scheduler::FindVictim(size_t running_idx) const {
  Sequence* victim = nullptr;
  for (size_t i = running_idx + 1; i < running_.size(); ++i) {
    Sequence* const sequence = running_[i];
    if (sequence->standing.was_preempted) continue;
    if (victim == nullptr || sequence->request->priority >= victim->request->priority)
      victim = sequence;
  }
  return victim;
}

void Scheduler::Preempt(Sequence& sequence) {
  std::erase(running_, &sequence);
  CancelUntaken(sequence);
  if (sequence.last_step > 0) released_sequences_.push_back(sequence.id);
  sequence.phase = SequencePhase::kPreempted;
  sequence.standing.was_preempted = true;
  leaving_.push_back(&sequence);
  ++num_preempted_;
  ++num_preemptions_;
}

// Those whose steps are back give up what they hold, and wait.
void Scheduler::RequeuePreempted(StepPlan* plan) {
  std::erase_if(leaving_, [&](Sequence* sequence) {
    if (sequence->last_step > committed_step_) return false;
    GiveBack(*sequence);
    SwapOut(*sequence, plan);
    num_preempted_tokens_ += sequence->num_computed_tokens - sequence->swapped.num_tokens;
    sequence->phase = SequencePhase::kWaiting;
    sequence->num_planned_samples = static_cast<int64_t>(sequence->output_token_ids.size());
    sequence->num_planned_tokens = sequence->num_computed_tokens = sequence->last_step = 0;
    sequence->num_reserved_blocks = 0;
    sequence->block_table.clear();
    sequence->prefix = {};
    sequence->num_acquired_images = sequence->num_ready_images = sequence->num_prefilled_images = 0;
    waiting_.Add(*sequence);
    return true;
  });
}

// What was promised but not taken is in no plan.
void Scheduler::CancelUntaken(Sequence& sequence) {
  const auto num_blocks = static_cast<int64_t>(sequence.block_table.size());
  block_pool_.CancelReservation(sequence.num_reserved_blocks - num_blocks);
  sequence.num_reserved_blocks = num_blocks;
}

}  // namespace longhand::engine
