// The engine's mailbox, and what clients ask of it.
#include <utility>

#include "coordinator/engine/engine.h"

namespace longhand::engine {
namespace {

// A full mailbox refuses new requests first, then other commands, and last the word that a client
// has left, which comes once for each call. The rest is for a drain, and for the worker group,
// which has at most a few results and one message for each image under way.
constexpr size_t kMaxQueuedSubmits = 1024;
constexpr size_t kMaxQueuedCommands = 2 * kMaxQueuedSubmits;
constexpr size_t kMaxQueuedDepartures = 32768;
constexpr size_t kMailboxCapacity = kMaxQueuedDepartures + 65536;

}  // namespace

Engine::Engine(const EngineConfig& config, const EngineParts& parts)
    : config_(config),
      executor_(parts.executor),
      text_(parts.text),
      clock_(parts.clock),
      gate_(parts.gate),
      on_request_end_(parts.on_request_end),
      waiting_(parts.waiting),
      metrics_(parts.metrics),
      mailbox_(kMailboxCapacity),
      without_group_since_(clock_.Now()),
      group_status_(Unavailable("no worker group is up yet")),
      last_token_at_(clock_.Now()),
      last_step_at_(last_token_at_) {
  const Status status = CheckConfig(config);
  LONGHAND_CHECK(status.ok()) << status;
}

Status Engine::Submit(std::shared_ptr<const Request> request, std::unique_ptr<TokenSink> sink) {
  LONGHAND_RETURN_IF_ERROR(CheckRequest(*request));
  return PostCommand(SubmitCommand{std::move(request), std::move(sink), clock_.Now()},
                     kMaxQueuedSubmits);
}

// All come at once when a coordinator starts, so only the largest bound holds for them.
Status Engine::Restore(std::shared_ptr<const Request> request,
                       Delivered delivered,
                       std::unique_ptr<TokenSink> sink) {
  LONGHAND_RETURN_IF_ERROR(CheckRequest(*request));
  if (delivered.token_ids.size() != request->num_choices ||
      delivered.has_ended.size() != request->num_choices) {
    return InvalidArgument("tokens of ", delivered.token_ids.size(),
                           " answers were delivered; n is ", request->num_choices);
  }
  return PostCommand(RestoreCommand{std::move(request), std::move(delivered), std::move(sink)},
                     kMaxQueuedDepartures);
}

bool Engine::TakeNew(std::shared_ptr<const Request> request, std::unique_ptr<TokenSink>* sink) {
  if (mailbox_.size() >= kMaxQueuedSubmits) return false;
  Message message = SubmitCommand{std::move(request), std::move(*sink), clock_.Now()};
  if (mailbox_.Push(std::move(message)).ok()) return true;
  *sink = std::move(std::get<SubmitCommand>(message).sink);
  return false;
}

bool Engine::TakeOver(std::unique_ptr<ActiveRequest>* active) {
  Message message = TakeOverCommand{std::move(*active)};
  if (mailbox_.size() < kMaxQueuedDepartures && mailbox_.Push(std::move(message)).ok()) return true;
  *active = std::move(std::get<TakeOverCommand>(message).active);
  return false;
}

Status Engine::Cancel(std::string request_id, std::function<void(const Status&)> done) {
  return PostCommand(CancelCommand{std::move(request_id), std::move(done), std::nullopt},
                     kMaxQueuedCommands);
}

Status Engine::CancelCall(std::string request_id,
                          int64_t call,
                          std::function<void(const Status&)> done) {
  return PostCommand(CancelCommand{std::move(request_id), std::move(done), call},
                     kMaxQueuedDepartures);
}

Status Engine::Drain(std::function<void()> done) {
  return PostCommand(DrainCommand{std::move(done)}, kMailboxCapacity);
}

Status Engine::GetStats(std::function<void(const EngineStats&)> done) {
  return PostCommand(StatsCommand{std::move(done)}, kMaxQueuedCommands);
}

Status Engine::PostCommand(Message command, size_t max_queued) {
  if (mailbox_.size() >= max_queued) {
    return ResourceExhausted(mailbox_.size(), " commands wait for the engine; at most ", max_queued,
                             " may")
        .WithRetryAdvice(1);
  }
  return mailbox_.Push(std::move(command));
}

void Engine::Post(Message message) {
  const Status status = mailbox_.Push(std::move(message));
  LONGHAND_CHECK(status.ok() || mailbox_.closed()) << status;
}

void Engine::Handle(SubmitCommand& command) {
  if (scheduler_ == nullptr && !draining_ && neighbours_ != nullptr &&
      neighbours_->TakeNew(command.request, &command.sink))
    return;
  if (const Status status = CheckAdmission(*command.request); !status.ok()) {
    metrics_.CountError(status);
    Conclude(SummariseRefused(*command.request, status));
    command.sink->OnEnd(status);
    return;
  }
  command.sink->OnAccepted();
  ActiveRequest& active = Open(std::move(command.request), std::move(command.sink));
  active.submitted_at = command.submitted_at;
  metrics_.ObserveRequest(*active.request);
  if (config_.max_queue_time < Duration::max()) {
    requests_.SetExpiry(
        active, std::min(active.request->deadline, active.submitted_at + config_.max_queue_time));
  }
  QueueOpenChoices(active);
}

ActiveRequest& Engine::Open(std::shared_ptr<const Request> request,
                            std::unique_ptr<TokenSink> sink) {
  auto active = std::make_unique<ActiveRequest>();
  active->arrival = next_arrival_++;
  active->request = std::move(request);
  active->sink = std::move(sink);
  active->submitted_at = clock_.Now();
  active->expires_at = active->request->deadline;
  active->num_open_choices = active->request->num_choices;
  for (uint32_t i = 0; i < active->request->num_choices; ++i) {
    const Request& asked = *active->request;
    active->choices.emplace_back(
        Answer(asked, i, config_, text_.Create(asked.stop_strings, asked.target_words),
               asked.constraint != nullptr ? asked.constraint->Create() : nullptr));
  }
  return requests_.Add(std::move(active));
}

// The state of an answer is a function of its tokens: they are appended once more, and told to
// nobody.
void Engine::Handle(RestoreCommand& command) {
  if (requests_.Contains(command.request->request_id)) {
    command.sink->OnEnd(Internal("request '", command.request->request_id, "' is running already"));
    return;
  }
  ActiveRequest& active = Open(std::move(command.request), std::move(command.sink));
  active.is_restored = true;
  active.last_event_seq = command.delivered.last_event_seq;
  active.num_prompt_logprobs = command.delivered.num_prompt_logprobs;
  for (size_t i = 0; i < active.choices.size(); ++i) {
    Choice& choice = active.choices[i];
    choice.output_token_ids = std::move(command.delivered.token_ids[i]);
    choice.last_token_at = active.submitted_at;
    for (const int32_t token_id : choice.output_token_ids) {
      active.began_earlier = true;
      active.first_token_at = active.submitted_at;
      const TokenEvent event = choice.answer.Append({.token_id = token_id});
      if (!event.finish_reason.has_value()) continue;
      choice.EndWith(event);
      break;
    }
    // One that has no tokens to tell it by.
    if (active.request->max_tokens == 0 && command.delivered.has_ended[i])
      choice.EndWith(choice.answer.End());
    choice.num_words_counted = choice.answer.num_words();
    choice.num_loops_counted = choice.answer.num_loops();
    if (active.began_earlier && !choice.is_over) {
      choice.num_lost_tokens = active.request->num_prompt_tokens() +
                               static_cast<int64_t>(choice.output_token_ids.size());
    }
    active.num_open_choices -= choice.is_over ? 1 : 0;
  }
  if (active.num_open_choices == 0) return EndRequest(active, OkStatus());
  if (scheduler_ != nullptr) Resume(active);
}

// Its place among the others was that of another engine.
void Engine::Handle(TakeOverCommand& command) {
  ActiveRequest& active = *command.active;
  active.arrival = next_arrival_++;
  for (Choice& choice : active.choices) choice.standing = Standing();
  requests_.Add(std::move(command.active));
  if (scheduler_ != nullptr) Resume(active);
}

void Engine::QueueOpenChoices(ActiveRequest& active) {
  for (Choice& choice : active.choices) {
    if (choice.is_over) continue;
    std::unique_ptr<Sequence> sequence = MakeSequence(active, choice);
    if (const Status status = Constrain(choice, *sequence); !status.ok())
      return EndRequest(active, status);
    choice.sequence = &scheduler_->Add(std::move(sequence));
  }
}

// Finds what its next token may be, where it is held to a form.
Status Engine::Constrain(Choice& choice, Sequence& sequence) {
  if (!sequence.waits_for_tokens) return OkStatus();
  const TimePoint begin = clock_.Now();
  LONGHAND_ASSIGN_OR_RETURN(sequence.allowed_tokens, choice.answer.FindAllowedTokens());
  metrics_.token_mask_seconds.Observe(Seconds(clock_.Now() - begin));
  return OkStatus();
}

Status Engine::CheckAdmission(const Request& request) {
  if (draining_) return Unavailable("the coordinator is draining: it takes no new requests");
  if (scheduler_ == nullptr) return group_status_;
  LONGHAND_RETURN_IF_ERROR(gate_.CheckAdmission());
  if (requests_.Contains(request.request_id)) {
    return Status(StatusCode::kAlreadyExists,
                  "request '" + request.request_id + "' is running already");
  }
  if (request.deadline <= clock_.Now())
    return DeadlineExceeded("the deadline passed before the request was taken");
  const Status status = scheduler_->CheckAdmissible(request);
  if (status.code() == StatusCode::kResourceExhausted) return Exhausted(request, status.message());
  return status;
}

Status Engine::Exhausted(const Request& request, const std::string& why) {
  const int64_t seconds =
      retry_advice_.Refuse(request.num_choices, lengths_.Expect(request), clock_.Now());
  return ResourceExhausted(why).WithRetryAdvice(seconds);
}

Status Engine::WaitedTooLong(const ActiveRequest& active) {
  return Exhausted(
      *active.request,
      internal::MakeStatus(StatusCode::kResourceExhausted, "no place came free in ",
                           Seconds(clock_.Now() - active.submitted_at),
                           " s; requests wait at most ", Seconds(config_.max_queue_time), " s")
          .message());
}

// Goes on from the tokens that the choice has.
std::unique_ptr<Sequence> Engine::MakeSequence(ActiveRequest& active, Choice& choice) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = next_sequence_id_++;
  sequence->request = active.request;
  sequence->owner = &active;
  const auto choice_idx = static_cast<uint32_t>(&choice - active.choices.data());
  sequence->sampling = active.request->sampling;
  sequence->sampling.choice = choice_idx;
  sequence->stop_token_ids = StopTokensOf(*active.request, config_);
  sequence->rules = choice.answer.rules();
  sequence->waits_for_tokens = active.request->constraint != nullptr;
  sequence->queued_at = active.submitted_at;
  sequence->expected_tokens = lengths_.Expect(*active.request);
  sequence->standing = choice.standing;
  sequence->on_probation = active.num_losses > 0;
  sequence->output_token_ids = std::exchange(choice.output_token_ids, {});
  sequence->num_scores = choice_idx == 0 ? active.num_prompt_logprobs : 0;
  sequence->num_planned_samples = static_cast<int64_t>(sequence->output_token_ids.size());
  return sequence;
}

void Engine::Handle(CancelCommand& command) {
  ActiveRequest* active = requests_.Find(command.request_id);
  const bool is_anothers =
      active != nullptr && command.call.value_or(active->request->call) != active->request->call;
  if (active != nullptr && !is_anothers)
    EndRequest(*active, Cancelled("the request was cancelled"));
  if (!command.done) return;
  command.done(active != nullptr ? OkStatus()
                                 : NotFound("no request '", command.request_id, "' is running"));
}

void Engine::Handle(DrainCommand& command) {
  draining_ = true;
  if (command.done) drain_waiters_.push_back(std::move(command.done));
}

void Engine::Handle(StatsCommand& command) {
  EngineStats stats = Stats();
  for (const ActiveRequest* active : requests_.All()) {
    const Request& request = *active->request;
    if (request.adapter == nullptr) continue;
    (active->is_admitted ? stats.running_adapters : stats.waiting_adapters)
        .insert(request.adapter->name);
  }
  command.done(stats);
}

EngineStats Engine::Stats() const {
  thread_.Check();
  EngineStats stats;
  stats.draining = draining_;
  stats.epoch = epoch_;
  stats.num_prompt_tokens = num_prompt_tokens_;
  stats.num_generated_tokens = num_generated_tokens_;
  stats.num_preemptions = num_preemptions_;
  stats.num_swapped_out_blocks = num_swapped_out_blocks_;
  stats.num_swapped_in_blocks = num_swapped_in_blocks_;
  const TimePoint now = clock_.Now();
  if (scheduler_ == nullptr) {
    for (const ActiveRequest* active : requests_.All())
      stats.num_waiting += active->num_open_choices;
    if (stats.num_waiting > 0) stats.last_token_age = now - last_token_at_;
    return stats;
  }
  stats.group_up = true;
  stats.shape = scheduler_->shape();
  stats.num_running = scheduler_->num_running();
  stats.num_waiting = scheduler_->num_waiting();
  stats.num_preempted = scheduler_->num_preempted();
  stats.num_tenants = scheduler_->num_tenants();
  stats.num_reserved_blocks = scheduler_->block_pool().num_reserved();
  stats.num_free_blocks = scheduler_->block_pool().num_free();
  stats.num_free_host_blocks = scheduler_->host_blocks().num_free();
  stats.num_steps = scheduler_->num_committed_steps();
  stats.num_steps_in_flight = scheduler_->num_steps_in_flight();
  if (stats.num_running > 0) stats.last_token_age = now - last_token_at_;
  if (stats.num_steps_in_flight > 0) stats.last_step_age = now - last_step_at_;
  return stats;
}

// Ends the request now; its sink is told at the end of the turn.
void Engine::EndRequest(ActiveRequest& active, Status status) {
  for (Choice& choice : active.choices) {
    if (choice.sequence != nullptr) scheduler_->Finish(*std::exchange(choice.sequence, nullptr));
  }
  if (!status.ok()) metrics_.CountError(status);
  const RequestSummary summary = Summarise(active, status, clock_.Now());
  metrics_.ObserveEnd(summary);
  Conclude(summary);
  ended_.push_back({requests_.Take(active), std::move(status)});
}

void Engine::Conclude(RequestSummary summary) {
  if (on_request_end_) summaries_.push_back(std::move(summary));
}

void Engine::CheckInvariants() const {
  if (scheduler_ != nullptr) scheduler_->CheckInvariants();
  for (const ActiveRequest* active : requests_.All()) {
    for (const Choice& choice : active->choices) {
      const bool should_have = scheduler_ != nullptr && !choice.is_over;
      LONGHAND_CHECK_EQ(choice.sequence != nullptr, should_have) << active->request->request_id;
    }
  }
}

}  // namespace longhand::engine
