#include "tests/simulator/scheduler_simulation.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <utility>

#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

const char* const kTenants[] = {"", "a", "b", "c"};

}  // namespace

SchedulerSimulation::SchedulerSimulation(uint64_t seed) : random_(seed) {
  arrival_chance_ = 0.02 * static_cast<double>(Between(1, 25));
  cancel_chance_ = 0.002 * static_cast<double>(Random(10));
  loss_chance_ = Chance(0.3) ? 0.002 : 0;
  wrong_expectation_chance_ = 0.1 * static_cast<double>(Random(11));
  config_.max_num_seqs = Between(1, 24);
  config_.max_num_batched_tokens = config_.max_num_seqs + Between(0, 40);
  config_.max_num_prefill_tokens = Between(1, 40);
  config_.max_model_len = 100;
  config_.max_waiting_seqs = Between(4, 40);
  config_.max_waiting_seqs_per_tenant = Between(1, 40);
  config_.max_encode_patch_layers = Between(1, 200);
  config_.target_step_time = std::chrono::milliseconds(Random(4));
  config_.pipeline_depth = static_cast<int32_t>(Random(2));
  config_.enable_prefix_caching = Chance(0.6);
  config_.priority_step = std::chrono::milliseconds(20);
  config_.tenant_weights = {{"a", Between(1, 4)}, {"b", 2}};
  shape_.num_ranks = static_cast<int32_t>(Between(1, 4));
  shape_.num_encoder_layers = static_cast<int32_t>(Between(1, 4));
  shape_.block_size = 1 << Random(4);
  shape_.num_blocks = Between(100, 400) / shape_.block_size + 1;
  shape_.encoder_cache_tokens = Between(30, 90);
  if (Chance(0.6)) shape_.num_host_blocks = Between(1, shape_.num_blocks);
  FormGroup();
}

template <typename... Parts>
void SchedulerSimulation::Fail(const Parts&... parts) {
  if (!error_.empty()) return;
  std::ostringstream out;
  (out << ... << parts);
  error_ = out.str();
}

double SchedulerSimulation::WeightOf(const std::string& tenant) const {
  const auto found = config_.tenant_weights.find(tenant);
  return found == config_.tenant_weights.end() ? 1 : static_cast<double>(found->second);
}

void SchedulerSimulation::FormGroup() {
  ++epoch_;
  scheduler_ = std::make_unique<Scheduler>(config_, shape_, epoch_);
  checker_ = std::make_unique<PlanChecker>(config_, shape_);
  in_flight_.clear();
  images_under_way_.clear();
  served_.clear();
  now_served_ = 0;
  oldest_ = 0;
}

std::string SchedulerSimulation::Run(int64_t num_turns) {
  // Each answer takes at most its tokens twice, one a turn, and a turn in two brings a step back.
  const int64_t max_quiet_turns = 100'000;
  for (int64_t turn = 0; turn < num_turns + max_quiet_turns && error_.empty(); ++turn) {
    const bool is_quiet = turn >= num_turns;
    if (is_quiet && answers_.empty() && in_flight_.empty()) break;
    now_ += std::chrono::milliseconds(Random(3));
    if (!is_quiet) {
      if (Chance(arrival_chance_)) {
        for (uint64_t n = 1 + Random(Chance(0.05) ? 30 : 2); n > 0; --n) Arrive();
      }
      if (Chance(cancel_chance_)) CancelRandom();
      if (Chance(loss_chance_)) LoseGroup();
    }
    if (!images_under_way_.empty() && Chance(0.4)) {
      scheduler_->OnImageReady(images_under_way_.back());
      images_under_way_.pop_back();
    }
    if (!in_flight_.empty() && Chance(0.9)) CommitStep();
    while (scheduler_->num_steps_in_flight() <= config_.pipeline_depth) {
      const size_t num_in_flight = in_flight_.size();
      Plan();
      if (in_flight_.size() == num_in_flight) break;
    }
    CheckTurn();
  }
  if (!answers_.empty())
    Fail(answers_.size(), " answers starve, such as ", answers_.begin()->first);
  if (!error_.empty()) return error_;
  // The last releases.
  for (int i = 0; i < 200; ++i) {
    while (!images_under_way_.empty()) {
      scheduler_->OnImageReady(images_under_way_.back());
      images_under_way_.pop_back();
    }
    Plan();
    if (!in_flight_.empty()) CommitStep();
  }
  checker_->OnQuiet();
  CheckTurn();
  CountEpoch();
  const BlockPool& pool = scheduler_->block_pool();
  if (pool.num_free() != pool.num_blocks() || pool.num_reserved() != 0)
    Fail(pool.num_blocks() - pool.num_free(), " blocks leaked, ", pool.num_reserved(), " promised");
  const HostBlocks& host = scheduler_->host_blocks();
  if (host.num_free() != host.num_blocks())
    Fail(host.num_blocks() - host.num_free(), " host blocks leaked");
  return error_;
}

void SchedulerSimulation::Arrive() {
  const int64_t num_tokens = Between(1, Chance(0.5) ? 60 : 8);
  const int64_t max_tokens = Between(1, Chance(0.5) ? 10 : 100 - num_tokens);
  // Of few prompts, of which some are beginnings of others.
  Request request = MakeRequest(std::to_string(next_id_), num_tokens, max_tokens, Random(4));
  request.num_choices = Chance(0.1) ? 3 : 1;
  request.tenant = kTenants[Random(4)];
  request.priority = static_cast<int32_t>(Between(-3, 3));
  if (Chance(0.15)) {
    const auto picture = static_cast<uint8_t>(Random(5));
    const int32_t size = 1 + picture * 5;
    if (size <= num_tokens) AddImage(request, 0, size, picture);
  }
  if (!scheduler_->CheckAdmissible(request).ok()) {
    ++counts_.refused;
    return;
  }
  const auto shared = std::make_shared<const Request>(std::move(request));
  for (uint32_t choice = 0; choice < shared->num_choices; ++choice) {
    Answer answer;
    answer.request = shared;
    answer.choice = choice;
    answer.length = Between(1, max_tokens);
    answer.expected_tokens =
        Chance(wrong_expectation_chance_) ? Between(1, answer.length) : Between(1, max_tokens);
    answer.queued_at = now_;
    answer.waits_for_tokens = Chance(0.2);
    const int64_t id = next_id_++;
    Queue(id, answers_.emplace(id, std::move(answer)).first->second, {}, {});
  }
}

void SchedulerSimulation::Queue(int64_t id,
                                Answer& answer,
                                std::vector<int32_t> output,
                                Standing standing) {
  const std::string& tenant = answer.request->tenant;
  const bool has_fresh = std::any_of(answers_.begin(), answers_.end(), [&](const auto& entry) {
    const Answer& other = entry.second;
    return other.sequence != nullptr && other.request->tenant == tenant &&
           other.sequence->standing.admission == 0;
  });
  if (standing.admission == 0 && !has_fresh)
    served_[tenant] = std::max(served_[tenant], now_served_);
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->request = answer.request;
  sequence->sampling.choice = answer.choice;
  sequence->queued_at = answer.queued_at;
  sequence->expected_tokens = answer.expected_tokens;
  sequence->standing = standing;
  sequence->waits_for_tokens = answer.waits_for_tokens;
  sequence->num_planned_samples = static_cast<int64_t>(output.size());
  sequence->output_token_ids = std::move(output);
  checker_->OnSequence(id, *answer.request);
  answer.sequence = &scheduler_->Add(std::move(sequence));
  answer.num_charged_tokens = 0;
  answer.first_admitted_step = -1;
}

void SchedulerSimulation::CancelRandom() {
  if (answers_.empty()) return;
  ++counts_.cancelled;
  End(std::next(answers_.begin(), static_cast<int64_t>(Random(answers_.size())))->first);
}

// The next group computes everything again; what came back stays.
void SchedulerSimulation::LoseGroup() {
  ++counts_.groups_lost;
  struct Kept {
    std::vector<int32_t> output;
    Standing standing;
  };
  std::map<int64_t, Kept> kept;
  for (auto& [id, answer] : answers_) {
    Sequence* const sequence = std::exchange(answer.sequence, nullptr);
    kept[id] = {std::move(sequence->output_token_ids), sequence->standing};
  }
  CountEpoch();
  FormGroup();
  for (auto& [id, answer] : answers_)
    Queue(id, answer, std::move(kept[id].output), kept[id].standing);
}

void SchedulerSimulation::CountEpoch() {
  counts_.preemptions += scheduler_->num_preemptions();
  counts_.hit_tokens += scheduler_->num_hit_tokens();
}

void SchedulerSimulation::Plan() {
  const int64_t committed_step = scheduler_->num_committed_steps();
  std::map<int64_t, bool> was_preempted;
  for (const auto& [id, answer] : answers_)
    was_preempted[id] = answer.sequence->standing.was_preempted;
  Scheduler::Planned planned = scheduler_->Plan();
  for (const Sequence* sequence : planned.admitted) CheckAdmission(*sequence);
  for (const ImageInput* image : planned.images_to_send) images_under_way_.push_back(image->hash);
  if (verbose_) {
    for (const auto& [id, answer] : answers_) {
      if (answer.sequence->standing.was_preempted && !was_preempted[id])
        std::printf("  sequence %ld is preempted\n", static_cast<long>(id));
    }
  }
  if (!planned.plan.has_value()) return;
  if (verbose_) {
    std::printf("  step %ld:", static_cast<long>(planned.plan->step));
    for (const BlockCopy& copy : planned.plan->swaps_out)
      std::printf(" %d>host%d", copy.from, copy.to);
    for (const BlockCopy& copy : planned.plan->swaps_in)
      std::printf(" host%d>%d", copy.from, copy.to);
    for (const SequenceChunk& chunk : planned.plan->chunks) {
      std::printf(" %ld+%zu%s", static_cast<long>(chunk.sequence_id), chunk.token_ids.size(),
                  chunk.sample ? "" : "...");
    }
    std::printf("\n");
  }
  for (const auto& [id, answer] : answers_) {
    const Sequence& sequence = *answer.sequence;
    if (sequence.phase == SequencePhase::kRunning && sequence.last_step != planned.plan->step &&
        sequence.CanAdvance() && sequence.IsDecoding()) {
      ++counts_.waits_for_blocks;
    }
  }
  counts_.swaps_out += static_cast<int64_t>(planned.plan->swaps_out.size());
  counts_.swaps_in += static_cast<int64_t>(planned.plan->swaps_in.size());
  checker_->OnPlan(*planned.plan, committed_step);
  in_flight_.push_back(std::move(*planned.plan));
}

// The rules of the queue, over all that wait: those that ran come first, by admission; then the
// tenant that was given the least, and of it the earliest, priorities counted as waiting.
void SchedulerSimulation::CheckAdmission(const Sequence& admitted) {
  Answer& answer = answers_.at(admitted.id);
  const bool returns = std::exchange(answer.has_run, true);
  const auto stand_in = [&](const Answer& waiting) {
    return std::pair(waiting.queued_at + waiting.request->priority * config_.priority_step,
                     waiting.sequence->id);
  };
  if (verbose_) std::printf("  sequence %ld is admitted\n", static_cast<long>(admitted.id));
  for (const auto& [id, other] : answers_) {
    const Sequence& waiting = *other.sequence;
    if (waiting.phase != SequencePhase::kWaiting) continue;
    if (waiting.standing.admission > 0) {
      if (!returns) Fail("sequence ", admitted.id, " overtook ", id, ", which ran before");
      if (returns && waiting.standing.admission < admitted.standing.admission)
        Fail("sequence ", admitted.id, " returned before ", id, ", which was admitted earlier");
      continue;
    }
    if (returns) continue;
    const bool same_tenant = other.request->tenant == answer.request->tenant;
    if (same_tenant && stand_in(other) < stand_in(answer))
      Fail("sequence ", admitted.id, " overtook ", id, " of its tenant");
    if (!same_tenant && served_[other.request->tenant] < served_[answer.request->tenant])
      Fail("sequence ", admitted.id, " overtook ", id, ", whose tenant was given less");
  }
  double& served = served_[answer.request->tenant];
  if (!returns) now_served_ = std::max(now_served_, served);
  if (answer.num_charged_tokens == 0) {
    answer.num_charged_tokens = answer.request->num_prompt_tokens() + answer.expected_tokens;
    served += static_cast<double>(answer.num_charged_tokens) / WeightOf(answer.request->tenant);
  }
  if (answer.first_admitted_step < 0)
    answer.first_admitted_step = scheduler_->num_committed_steps();
}

void SchedulerSimulation::CommitStep() {
  const StepPlan plan = std::move(in_flight_.front());
  in_flight_.pop_front();
  ++counts_.steps;
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  result.execute_us = Between(0, 5000);
  for (const SequenceChunk& chunk : plan.chunks) {
    if (!chunk.sample) continue;
    const int32_t token_id = OutputToken(chunk.sequence_id, chunk.output_position);
    result.sequences.push_back({chunk.sequence_id, {SampledToken{.token_id = token_id}}, {}});
  }
  Result<std::vector<Scheduler::Progress>> committed = scheduler_->Commit(std::move(result));
  if (!committed.ok()) return Fail(committed.status());
  for (const Scheduler::Progress& progress : *committed) {
    Sequence& sequence = *progress.sequence;
    const int64_t id = sequence.id;
    sequence.output_token_ids.push_back(progress.result.tokens.at(0).token_id);
    if (static_cast<int64_t>(sequence.output_token_ids.size()) < answers_.at(id).length) continue;
    ++counts_.answers;
    End(id);
  }
}

void SchedulerSimulation::End(int64_t id) {
  const auto found = answers_.find(id);
  Answer& answer = found->second;
  const std::string tenant = answer.request->tenant;
  if (answer.num_charged_tokens > 0) {
    const int64_t num_tokens = answer.request->num_prompt_tokens() +
                               static_cast<int64_t>(answer.sequence->output_token_ids.size());
    served_[tenant] +=
        static_cast<double>(num_tokens - answer.num_charged_tokens) / WeightOf(tenant);
  }
  if (answer.first_admitted_step >= 0) {
    counts_.longest_run = std::max(counts_.longest_run,
                                   scheduler_->num_committed_steps() - answer.first_admitted_step);
  }
  scheduler_->Finish(*answer.sequence);
  answers_.erase(found);
  const bool has_more = std::any_of(answers_.begin(), answers_.end(), [&](const auto& entry) {
    return entry.second.request->tenant == tenant;
  });
  if (!has_more) served_.erase(tenant);
}

void SchedulerSimulation::CheckTurn() {
  scheduler_->CheckInvariants();
  if (!checker_->error().empty()) Fail(checker_->error());
  if (scheduler_->num_tenants() > static_cast<int64_t>(answers_.size()))
    Fail(scheduler_->num_tenants(), " tenants are known of ", answers_.size(), " answers");
  const int64_t step = scheduler_->num_committed_steps();
  // The oldest never waits longer than for the steps in flight, but for its pictures.
  const Sequence* oldest = nullptr;
  for (const auto& [id, answer] : answers_) {
    if (answer.first_admitted_step >= 0 &&
        step - answer.first_admitted_step > 2 * config_.max_num_seqs * config_.max_model_len)
      Fail("sequence ", id, " was admitted ", step - answer.first_admitted_step, " steps ago");
    const Sequence& sequence = *answer.sequence;
    if (sequence.phase != SequencePhase::kRunning) continue;
    if (oldest == nullptr || sequence.standing.admission < oldest->standing.admission)
      oldest = &sequence;
  }
  if (oldest == nullptr) return;
  const bool waits_for_image = oldest->num_ready_images < oldest->request->images.size();
  if (oldest->id != oldest_ || oldest->num_planned_tokens != oldest_tokens_ || waits_for_image) {
    oldest_ = oldest->id;
    oldest_tokens_ = oldest->num_planned_tokens;
    oldest_since_step_ = step;
  }
  counts_.longest_pause = std::max(counts_.longest_pause, step - oldest_since_step_);
  if (step - oldest_since_step_ > 2 + config_.pipeline_depth)
    Fail("the oldest sequence, ", oldest->id, ", has waited for ", step - oldest_since_step_,
         " steps");
}

}  // namespace longhand::engine
