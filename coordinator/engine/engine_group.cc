// What the engine does when its worker group speaks.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "coordinator/engine/engine.h"

namespace longhand::engine {
namespace {

// The first loss comes with company; from then on a request runs beside no other that is under
// suspicion, so two more are its own.
constexpr int32_t kMaxLosses = 3;
// Of an answer that is being written.
constexpr int64_t kCountWordsEvery = 16;

}  // namespace

void Engine::Handle(GroupUp& message) {
  if (message.epoch <= epoch_) return;
  if (scheduler_ != nullptr) LoseGroup(Unavailable("a new group was formed"));
  epoch_ = message.epoch;
  scheduler_ = std::make_unique<Scheduler>(config_, message.shape, epoch_, waiting_);
  has_group_ = true;
  for (ActiveRequest* active : requests_.All()) Resume(*active);
}

void Engine::EndFailover() {
  if (!group_lost_at_.has_value()) return;
  metrics_.failover_seconds.Observe(Seconds(clock_.Now() - *group_lost_at_));
  group_lost_at_.reset();
}

// An epoch newer than ours is one that never came up: its reason is what new requests are told.
void Engine::Handle(GroupDown& message) {
  if (message.epoch >= epoch_) LoseGroup(message.why);
}

void Engine::Handle(ImageReady& message) {
  if (scheduler_ != nullptr && message.epoch == epoch_) scheduler_->OnImageReady(message.image);
}

void Engine::Handle(StepResult& result) {
  if (scheduler_ == nullptr || result.epoch != epoch_) return;
  const int64_t num_images = scheduler_->encoder_cache().num_images_encoded();
  const int64_t num_surplus = scheduler_->num_surplus_tokens();
  const double execute_seconds = static_cast<double>(result.execute_us) * 1e-6;
  Result<std::vector<Scheduler::Progress>> committed = scheduler_->Commit(std::move(result));
  if (!committed.ok()) {
    executor_.AbandonGroup(epoch_, committed.status());
    LoseGroup(committed.status());
    return;
  }
  last_step_at_ = clock_.Now();
  metrics_.steps.Increment();
  metrics_.step_execute_seconds.Observe(execute_seconds);
  metrics_.images_encoded.Increment(
      static_cast<double>(scheduler_->encoder_cache().num_images_encoded() - num_images));
  metrics_.surplus_tokens.Increment(
      static_cast<double>(scheduler_->num_surplus_tokens() - num_surplus));
  for (Scheduler::Progress& progress : *committed) Advance(progress);
  for (ActiveRequest* active : std::exchange(at_dead_ends_, {}))
    EndRequest(*active, active->dead_end);
}

void Engine::Advance(Scheduler::Progress& progress) {
  Sequence& sequence = *progress.sequence;
  ActiveRequest& active = *sequence.owner;
  Choice& choice = active.choices[sequence.sampling.choice];
  TellPromptLogprobs(active, progress);
  if (progress.is_whole) {
    CountPrompt(active, sequence);
    return EndChoice(active, choice, choice.answer.End());
  }
  for (SampledToken& token : progress.result.tokens) {
    sequence.output_token_ids.push_back(token.token_id);
    AddToken(active, choice, std::move(token));
    if (choice.sequence == nullptr) return;  // The answer is over, and maybe the request.
  }
}

// What a chunk of the prompt has of them. Those that another group made were told then.
void Engine::TellPromptLogprobs(ActiveRequest& active, const Scheduler::Progress& progress) {
  const SequenceResult& result = progress.result;
  if (result.score_logprobs.empty()) return;
  const std::vector<int32_t>& prompt = active.request->token_ids;
  const size_t num_top = result.score_top.size() / result.score_logprobs.size();
  std::vector<SampledToken> told;
  const auto tell = [&] {
    if (told.empty()) return;
    TokenEvent event;
    event.prompt_logprobs = std::exchange(told, {});
    Emit(active, std::move(event));
  };
  for (size_t i = 0; i < result.score_logprobs.size(); ++i) {
    const size_t idx = static_cast<size_t>(progress.begin) + i;
    if (idx != static_cast<size_t>(active.num_prompt_logprobs) || idx + 1 >= prompt.size())
      continue;
    const auto top = result.score_top.begin() + static_cast<int64_t>(i * num_top);
    told.push_back({.token_id = prompt[idx + 1],
                    .logprob = result.score_logprobs[i],
                    .top = {top, top + static_cast<int64_t>(num_top)}});
    progress.sequence->num_scores = ++active.num_prompt_logprobs;
    if (told.size() == kMaxScoresPerEvent) tell();
  }
  tell();
}

// The first that comes of an answer: its prompt is computed.
void Engine::CountPrompt(ActiveRequest& active, const Sequence& sequence) {
  if (!active.first_token_at.has_value()) {
    // Choices that share the first one's blocks found none themselves.
    active.num_cached_tokens =
        std::max(active.num_cached_tokens,
                 std::min(sequence.prefix.num_cached_tokens, active.request->num_prompt_tokens()));
  }
  num_prompt_tokens_ += active.request->num_prompt_tokens();
  metrics_.prompt_tokens.Increment(static_cast<double>(active.request->num_prompt_tokens()));
}

void Engine::AddToken(ActiveRequest& active, Choice& choice, SampledToken token) {
  const TimePoint now = clock_.Now();
  EndFailover();
  active.num_losses = 0;
  choice.sequence->on_probation = false;
  if (choice.answer.num_tokens() > 0) {
    metrics_.inter_token_latency_seconds.Observe(Seconds(now - choice.last_token_at));
  } else {
    CountPrompt(active, *choice.sequence);
  }
  if (!active.first_token_at.has_value()) {
    active.first_token_at = now;
    metrics_.time_to_first_token_seconds.Observe(Seconds(now - active.submitted_at));
  }
  choice.last_token_at = last_token_at_ = now;
  ++num_generated_tokens_;
  retry_advice_.OnTokens(1, now);
  metrics_.generation_tokens.Increment();

  TokenEvent event = choice.answer.Append(std::move(token));
  choice.sequence->rules = choice.answer.rules();
  CountLoops(choice);
  if (!event.finish_reason.has_value()) {
    if (choice.answer.num_tokens() % kCountWordsEvery == 0) CountWords(choice);
    Emit(active, std::move(event));
    const Status status = Constrain(choice, *choice.sequence);
    if (!status.ok() && active.dead_end.ok()) {
      // Others of its answers may have a part in the step.
      active.dead_end = status;
      at_dead_ends_.push_back(&active);
    }
    return;
  }
  CountWords(choice);
  metrics_.ObserveLength(choice.answer.num_words(), active.request->target_words);
  lengths_.Observe(choice.answer.num_tokens(), choice.answer.num_words());
  EndChoice(active, choice, std::move(event));
}

// A KV cache that is smaller than the model's context is the context.
bool Engine::IsContextFull(const ActiveRequest& active, const Choice& choice) const {
  const GroupShape& shape = scheduler_->shape();
  const int64_t most = std::min(config_.max_model_len, shape.num_blocks * shape.block_size);
  return active.request->num_prompt_tokens() + choice.answer.num_tokens() == most;
}

void Engine::EndChoice(ActiveRequest& active, Choice& choice, TokenEvent event) {
  if (event.finish_detail == "max_tokens" && IsContextFull(active, choice))
    event.finish_detail = "context_full";
  if (event.finish_detail == "repetition") metrics_.repetitions_ended.Increment();
  metrics_.CountFinish(*event.finish_reason);
  choice.EndWith(event);
  scheduler_->Finish(*std::exchange(choice.sequence, nullptr));
  const bool is_last = --active.num_open_choices == 0;
  if (is_last) {
    event.usage = Usage{active.request->num_prompt_tokens(), 0, active.num_cached_tokens};
    for (const Choice& each : active.choices)
      event.usage->completion_tokens += each.answer.num_tokens();
  }
  Emit(active, std::move(event));
  if (is_last) EndRequest(active, OkStatus());
}

void Engine::CountWords(Choice& choice) {
  const int64_t num_words = choice.answer.num_words();
  // The end of a text may still take the last word back: it was part of a longer one.
  if (num_words <= choice.num_words_counted) return;
  metrics_.words.Increment(static_cast<double>(num_words - choice.num_words_counted));
  choice.num_words_counted = num_words;
}

void Engine::CountLoops(Choice& choice) {
  const int64_t num_new = choice.answer.num_loops() - choice.num_loops_counted;
  if (num_new == 0) return;
  metrics_.repetitions_redirected.Increment(static_cast<double>(num_new));
  choice.num_loops_counted += num_new;
}

void Engine::Emit(ActiveRequest& active, TokenEvent event) {
  event.seq = ++active.last_event_seq;
  if (active.events.empty()) requests_with_events_.push_back(&active);
  active.events.push_back(std::move(event));
}

// Requests keep what they have and wait for the next group, which computes their tokens again. One
// that was run whenever a group was lost, without a token in between, is taken for the cause.
void Engine::LoseGroup(const Status& why) {
  group_status_ = Unavailable("no worker group is up: ", why.message());
  if (scheduler_ == nullptr) return;
  has_group_ = false;
  group_lost_at_ = without_group_since_ = clock_.Now();
  std::vector<ActiveRequest*> culprits;
  for (ActiveRequest* active : requests_.All()) {
    bool was_running = false;
    for (Choice& choice : active->choices) {
      Sequence* sequence = std::exchange(choice.sequence, nullptr);
      if (sequence == nullptr) continue;
      choice.num_lost_tokens = sequence->num_computed_tokens;
      was_running |=
          sequence->last_step > 0 && sequence->last_step >= scheduler_->num_committed_steps();
      choice.output_token_ids = std::move(sequence->output_token_ids);
      choice.standing = sequence->standing;
    }
    if (was_running && ++active->num_losses == kMaxLosses) culprits.push_back(active);
  }
  scheduler_.reset();
  for (ActiveRequest* culprit : culprits) {
    EndRequest(*culprit, Internal("the worker group was lost ", kMaxLosses,
                                  " times while it ran this request: ", why.message()));
  }
}

void Engine::Resume(ActiveRequest& active) {
  if (const Status status = scheduler_->CheckFits(*active.request); !status.ok()) {
    return EndRequest(active, Unavailable("the new worker group is smaller: ", status.message()));
  }
  const bool is_restored = std::exchange(active.is_restored, false);
  (is_restored ? metrics_.resumed_after_coordinator : metrics_.resumed_after_group).Increment();
  for (Choice& choice : active.choices)
    metrics_.tokens_replayed.Increment(
        static_cast<double>(std::exchange(choice.num_lost_tokens, 0)));
  active.is_resumed = true;
  QueueOpenChoices(active);
}

}  // namespace longhand::engine
