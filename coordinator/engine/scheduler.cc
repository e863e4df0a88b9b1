#include "coordinator/engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "coordinator/engine/chunk_builder.h"
#include "coordinator/engine/prefill_share.h"

namespace longhand::engine {

Scheduler::Scheduler(const EngineConfig& config,
                     const GroupShape& shape,
                     int64_t epoch,
                     std::shared_ptr<QueueTotals> totals)
    : config_(config),
      shape_(shape),
      epoch_(epoch),
      totals_(std::move(totals)),
      prefix_cache_(shape.num_blocks),
      block_pool_(shape.num_blocks, prefix_cache_),
      host_blocks_(shape.num_host_blocks),
      encoder_cache_(shape.encoder_cache_tokens, shape.num_encoder_layers, shape.num_ranks),
      pace_(config.target_step_time),
      waiting_(config_, *totals_) {
  CountPlaces();
}

Status Scheduler::CheckFits(const Request& request) const {
  const int64_t num_tokens = request.num_prompt_tokens() + request.max_tokens;
  if (num_tokens > config_.max_model_len) {
    return InvalidArgument("the prompt has ", request.num_prompt_tokens(),
                           " tokens and max_tokens is ", request.max_tokens, "; together at most ",
                           config_.max_model_len, " fit the context")
        .About(kContextLength);
  }
  if (NumBlocksFor(num_tokens) > shape_.num_blocks) {
    return InvalidArgument("prompt and answer need ", NumBlocksFor(num_tokens),
                           " KV blocks; the cache has ", shape_.num_blocks)
        .About(kContextLength);
  }
  for (const ImageInput& image : request.images) {
    if (image.num_tokens > shape_.encoder_cache_tokens) {
      return InvalidArgument("an image has ", image.num_tokens, " tokens; the encoder cache holds ",
                             shape_.encoder_cache_tokens)
          .About("messages");
    }
  }
  return OkStatus();
}

Status Scheduler::CheckAdmissible(const Request& request) const {
  LONGHAND_RETURN_IF_ERROR(CheckFits(request));
  const int64_t most = std::min(config_.max_waiting_seqs, config_.max_waiting_seqs_per_tenant);
  if (request.num_choices > config_.max_num_seqs + most) {
    return InvalidField("n", " is ", request.num_choices, "; at most ", config_.max_num_seqs,
                        " answers run at once, and ", most, " may wait for a place");
  }
  const int64_t num_more = request.num_choices - waiting_.num_free_places();
  if (num_more <= 0) return OkStatus();
  const int64_t num_of_all = totals_->total() + static_cast<int64_t>(leaving_.size());
  if (num_of_all + num_more > config_.max_waiting_seqs) {
    return ResourceExhausted(num_of_all, " answers wait for a place, and the request is for ",
                             request.num_choices, "; at most ", config_.max_waiting_seqs,
                             " may wait");
  }
  const int64_t num_of_tenant = totals_->of_tenant(request.tenant);
  if (num_of_tenant + num_more > config_.max_waiting_seqs_per_tenant) {
    return ResourceExhausted(num_of_tenant, " answers of this client wait for a place, and the ",
                             "request is for ", request.num_choices, "; at most ",
                             config_.max_waiting_seqs_per_tenant, " of one client may wait");
  }
  return OkStatus();
}

Sequence& Scheduler::Add(std::unique_ptr<Sequence> sequence) {
  thread_.Check();
  Sequence& added = *sequence;
  added.image_entries.resize(added.request->images.size());
  const bool is_new = sequences_.emplace(added.id, std::move(sequence)).second;
  LONGHAND_CHECK(is_new) << "sequence " << added.id << " exists";
  // It ran with an earlier coordinator.
  if (added.standing.admission == 0 && !added.output_token_ids.empty())
    added.standing.admission = next_admission_;
  next_admission_ = std::max(next_admission_, added.standing.admission + 1);
  num_preempted_ += added.standing.was_preempted ? 1 : 0;
  waiting_.Add(added);
  return added;
}

void Scheduler::Finish(Sequence& sequence) {
  thread_.Check();
  LONGHAND_CHECK(sequence.phase != SequencePhase::kFinished)
      << "sequence " << sequence.id << " finishes twice";
  if (sequence.phase == SequencePhase::kWaiting) {
    waiting_.Remove(sequence);
  } else {
    waiting_.Settle(sequence);
  }
  if (sequence.phase == SequencePhase::kRunning) {
    std::erase(running_, &sequence);
    CancelUntaken(sequence);
    CountPlaces();
    // Plans run in order, so the next one may already say it: the worker's tables never outnumber
    // max_num_seqs.
    if (sequence.last_step > 0) released_sequences_.push_back(sequence.id);
  } else {
    std::erase(leaving_, &sequence);
    num_preempted_ -= sequence.standing.was_preempted ? 1 : 0;
  }
  sequence.phase = SequencePhase::kFinished;
  if (sequence.last_step > committed_step_) {
    retiring_.push_back(&sequence);
  } else {
    Retire(sequence);
  }
}

Scheduler::Planned Scheduler::Plan() {
  thread_.Check();
  Planned planned;
  StepPlan plan;
  plan.epoch = epoch_;
  plan.step = next_step_;
  StepInFlight in_flight{next_step_, {}, {}};

  RequeuePreempted(&plan);
  ExtendPromises(&plan);
  AdmitWaiting(&planned);
  SettlePrefixes(&plan);
  encoder_cache_.GiveUpUnwanted();
  AcquireImages(&planned);
  PlanDecode(&plan, &in_flight);
  PlanEncoding(&plan, &in_flight);
  PlanPrefill(&plan, &in_flight);

  // Releases ride along; alone they go only when the workers are idle, so that nothing is left
  // behind there.
  const bool has_releases = !released_sequences_.empty() || encoder_cache_.has_releases();
  const bool has_work = !plan.chunks.empty() || !plan.images.empty() ||
                        !plan.block_copies.empty() || !plan.swaps_out.empty() ||
                        !plan.swaps_in.empty();
  if (!has_work && !(has_releases && in_flight_.empty())) return planned;
  plan.released_sequences = std::exchange(released_sequences_, {});
  plan.released_images = encoder_cache_.TakeReleases(plan.step);
  in_flight_.push_back(std::move(in_flight));
  ++next_step_;
  planned.plan = std::move(plan);
  return planned;
}

// Nobody overtakes the one whose turn it is, so a large request that waits for blocks cannot
// starve.
void Scheduler::AdmitWaiting(Planned* planned) {
  leaves_some_waiting_ = false;
  while (num_running() < config_.max_num_seqs) {
    Sequence* const sequence = waiting_.Next();
    if (sequence == nullptr) break;
    leaves_some_waiting_ = !Admit(*sequence, planned);
    if (leaves_some_waiting_) break;
  }
  CountPlaces();
}

bool Scheduler::Admit(Sequence& sequence, Planned* planned) {
  if (is_tight_ || (sequence.on_probation && AnotherIsOnProbation(sequence))) return false;
  const int64_t num_blocks =
      running_.empty() ? NumWholeBlocks(sequence) : NumPromisedBlocks(sequence);
  if (!Extend(sequence, num_blocks)) return false;
  waiting_.Admit(sequence);
  Standing& standing = sequence.standing;
  if (standing.admission == 0) standing.admission = next_admission_++;
  num_preempted_ -= standing.was_preempted ? 1 : 0;
  sequence.phase = SequencePhase::kRunning;
  const auto place = std::upper_bound(running_.begin(), running_.end(), &sequence,
                                      [](const Sequence* a, const Sequence* b) {
                                        return a->standing.admission < b->standing.admission;
                                      });
  running_.insert(place, &sequence);
  planned->admitted.push_back(&sequence);
  return true;
}

void Scheduler::CountPlaces() {
  waiting_.SetPlaces(leaves_some_waiting_ ? 0 : config_.max_num_seqs - num_running());
}

bool Scheduler::AnotherIsOnProbation(const Sequence& sequence) const {
  return std::any_of(running_.begin(), running_.end(), [&](const Sequence* running) {
    return running->on_probation && running->request != sequence.request;
  });
}

// Images are acquired by admission, and nobody overtakes one that waits for room. A sequence that
// holds a later image holds the next one it needs too: every holder gets on, and room comes back.
void Scheduler::AcquireImages(Planned* planned) {
  for (Sequence* sequence : running_) {
    if (!sequence->prefix.is_settled) continue;
    const std::vector<ImageInput>& images = sequence->request->images;
    for (size_t& i = sequence->num_acquired_images; i < images.size(); ++i) {
      const auto [entry, created] = encoder_cache_.Acquire(images[i]);
      if (entry == nullptr) return;
      sequence->image_entries[i] = entry;
      if (created) planned->images_to_send.push_back(&images[i]);
    }
  }
}

void Scheduler::PlanDecode(StepPlan* plan, StepInFlight* in_flight) {
  for (Sequence* sequence : running_) {
    if (!sequence->CanAdvance() || !sequence->IsDecoding() || IsShort(*sequence)) continue;
    AddChunk(*sequence, 1, plan, in_flight);
  }
  in_flight->work.has_streams = !plan->chunks.empty();
}

void Scheduler::PlanEncoding(StepPlan* plan, StepInFlight* in_flight) {
  StepWork& work = in_flight->work;
  const int64_t most = pace_.MaxPatchLayers(work.has_streams, config_.max_encode_patch_layers);
  plan->images = encoder_cache_.PlanEncoding(plan->step, most, &work.num_patch_layers);
}

void Scheduler::PlanPrefill(StepPlan* plan, StepInFlight* in_flight) {
  StepWork& work = in_flight->work;
  int64_t budget = config_.max_num_batched_tokens - std::ssize(plan->chunks);
  LONGHAND_CHECK_GE(budget, 0);
  if (plan->chunks.size() == running_.size()) return;
  // Streams wait for the whole step, so what else is in it is bounded.
  if (work.has_streams) budget = std::min(budget, config_.max_num_prefill_tokens);
  budget = pace_.MaxPrefillTokens(work, budget);
  std::vector<Sequence*> sequences;
  std::vector<int64_t> wanted;
  for (Sequence* sequence : running_) {
    // A stream that was just given its token looks decoding still: it may not get a second one.
    if (!sequence->CanAdvance() || IsShort(*sequence) || sequence->last_step == plan->step ||
        !sequence->prefix.is_settled) {
      continue;
    }
    sequences.push_back(sequence);
    wanted.push_back(NumPrefillTokens(*sequence));
  }
  const std::vector<int64_t> shares = SharePrefill(budget, wanted);
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (shares[i] > 0) AddChunk(*sequences[i], shares[i], plan, in_flight);
    work.num_prefill_tokens += shares[i];
  }
}

void Scheduler::AddChunk(Sequence& sequence,
                         int64_t num_tokens,
                         StepPlan* plan,
                         StepInFlight* in_flight) {
  const SequenceChunk& chunk = plan->chunks.emplace_back(
      BuildChunk(sequence, num_tokens, plan->step, shape_.block_size, block_pool_));
  const auto num_scores = std::ssize(chunk.score_token_ids);
  in_flight->chunks.push_back({.sequence = &sequence,
                               .begin = chunk.num_computed_tokens,
                               .num_tokens = num_tokens,
                               .samples = chunk.sample,
                               .num_scores = num_scores,
                               .num_score_top = num_scores * chunk.num_score_top,
                               .is_whole = !chunk.sample && !sequence.CanAdvance()});
}

// Up to the first image whose encoding is not complete in this step or an earlier one.
int64_t Scheduler::NumPrefillTokens(Sequence& sequence) const {
  size_t& num_ready = sequence.num_ready_images;
  while (num_ready < sequence.num_acquired_images &&
         encoder_cache_.IsComplete(*sequence.image_entries[num_ready])) {
    ++num_ready;
  }
  const std::vector<ImageInput>& images = sequence.request->images;
  const int64_t end = num_ready < images.size() ? images[num_ready].offset : sequence.num_tokens();
  // A prefix may end within an image that is not.
  return std::max<int64_t>(0, end - sequence.num_planned_tokens);
}

Result<std::vector<Scheduler::Progress>> Scheduler::Commit(StepResult result) {
  thread_.Check();
  if (in_flight_.empty() || result.step != in_flight_.front().step) {
    return Internal("the worker group answered step ", result.step, "; ",
                    in_flight_.empty() ? 0 : in_flight_.front().step, " was due");
  }
  if (!result.status.ok()) return result.status;
  const StepInFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  committed_step_ = step.step;
  pace_.Observe(step.work, std::chrono::microseconds(result.execute_us));
  encoder_cache_.Commit(step.step);

  std::unordered_map<int64_t, SequenceResult*> by_id;
  by_id.reserve(result.sequences.size());
  for (SequenceResult& sequence : result.sequences) by_id.emplace(sequence.sequence_id, &sequence);
  std::vector<Progress> progress;
  progress.reserve(step.chunks.size());
  for (const PlannedChunk& chunk : step.chunks) {
    CommitChunk(chunk);
    Sequence& sequence = *chunk.sequence;
    if (sequence.phase == SequencePhase::kFinished) {
      num_surplus_tokens_ += chunk.samples ? 1 : 0;
      continue;
    }
    if (!chunk.samples && chunk.num_scores == 0 && !chunk.is_whole) continue;
    SequenceResult answered;
    if (const auto found = by_id.find(sequence.id); found != by_id.end())
      answered = std::move(*found->second);
    if (std::ssize(answered.tokens) != (chunk.samples ? 1 : 0) ||
        std::ssize(answered.score_logprobs) != chunk.num_scores ||
        std::ssize(answered.score_top) != chunk.num_score_top) {
      return Internal("step ", step.step, " answered ", answered.tokens.size(), " tokens, ",
                      answered.score_logprobs.size(), " scores and ", answered.score_top.size(),
                      " alternatives for a sequence; ", chunk.samples ? 1 : 0, ", ",
                      chunk.num_scores, " and ", chunk.num_score_top, " were due");
    }
    progress.push_back({&sequence, chunk.begin, chunk.is_whole, std::move(answered)});
  }
  RetireFinished();
  return progress;
}

void Scheduler::CommitChunk(const PlannedChunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  sequence.num_computed_tokens += chunk.num_tokens;
  CacheComputed(sequence);
  const std::vector<ImageInput>& images = sequence.request->images;
  size_t& i = sequence.num_prefilled_images;
  while (i < images.size() &&
         images[i].offset + images[i].num_tokens <= sequence.num_computed_tokens) {
    encoder_cache_.Release(*sequence.image_entries[i++]);
  }
}

void Scheduler::RetireFinished() {
  std::erase_if(retiring_, [&](Sequence* sequence) {
    if (sequence->last_step > committed_step_) return false;
    Retire(*sequence);
    return true;
  });
}

void Scheduler::Retire(Sequence& sequence) {
  GiveBack(sequence);
  sequences_.erase(sequence.id);
}

void Scheduler::GiveBack(Sequence& sequence) {
  block_pool_.Free(sequence.block_table);
  host_blocks_.Free(sequence.swapped.block_ids);
  for (size_t i = sequence.num_prefilled_images; i < sequence.num_acquired_images; ++i) {
    encoder_cache_.Release(*sequence.image_entries[i]);
  }
}

}  // namespace longhand::engine
