// The engine's turn.
#include "coordinator/engine/engine.h"

#include <algorithm>
#include <optional>

namespace longhand::engine {
namespace {

// Ages and deadlines are looked at this often while no message comes.
constexpr Duration kHeartbeat = std::chrono::milliseconds(100);
// And this often while the gate holds plans back, of which no message tells.
constexpr Duration kGatePoll = std::chrono::milliseconds(2);
// A lost group has so long to be formed again, with a spare worker or a new one; then its requests
// go on elsewhere, where all they have must be computed again beside what runs there.
constexpr Duration kPatienceWithGroup = std::chrono::seconds(2);

}  // namespace

void Engine::Run() {
  while (!mailbox_.closed()) Turn(WaitTime());
  draining_ = true;
  TakeMessages(Duration::zero());
  Report();
  for (const auto& done : std::exchange(drain_waiters_, {})) done();
}

void Engine::Turn(Duration max_wait) {
  thread_.Check();
  TakeMessages(max_wait);
  EndExpired();
  SendPlans();
  Report();
  HandOver();
}

// Commands and results, in the order they came. What comes meanwhile waits for the next turn, so
// that a turn ends.
void Engine::TakeMessages(Duration max_wait) {
  std::optional<Message> message =
      max_wait > Duration::zero() ? mailbox_.PopFor(max_wait) : mailbox_.TryPop();
  size_t num_left = mailbox_.size();
  while (message.has_value()) {
    std::visit([this](auto& content) { Handle(content); }, *message);
    if (num_left-- == 0) return;
    message = mailbox_.TryPop();
  }
}

void Engine::EndExpired() {
  const TimePoint now = clock_.Now();
  while (ActiveRequest* active = requests_.FindExpired(now)) {
    EndRequest(*active, active->request->deadline <= now
                            ? DeadlineExceeded("the deadline passed after ", active->last_event_seq,
                                               " events")
                            : WaitedTooLong(*active));
  }
}

// Sends as many plans ahead as the depth allows.
void Engine::SendPlans() {
  while (scheduler_ != nullptr && scheduler_->num_steps_in_flight() <= config_.pipeline_depth &&
         !gate_.IsFull()) {
    const int64_t num_preemptions = scheduler_->num_preemptions();
    const int64_t num_preempted_tokens = scheduler_->num_preempted_tokens();
    const int64_t num_queried = scheduler_->num_queried_tokens();
    const int64_t num_hit = scheduler_->num_hit_tokens();
    const int64_t num_images = scheduler_->encoder_cache().num_images_acquired();
    const int64_t num_images_found = scheduler_->encoder_cache().num_images_found();
    Scheduler::Planned planned = scheduler_->Plan();
    metrics_.prefix_cache_queries.Increment(
        static_cast<double>(scheduler_->num_queried_tokens() - num_queried));
    metrics_.prefix_cache_hits.Increment(
        static_cast<double>(scheduler_->num_hit_tokens() - num_hit));
    metrics_.image_cache_queries.Increment(
        static_cast<double>(scheduler_->encoder_cache().num_images_acquired() - num_images));
    metrics_.image_cache_hits.Increment(
        static_cast<double>(scheduler_->encoder_cache().num_images_found() - num_images_found));
    num_preemptions_ += scheduler_->num_preemptions() - num_preemptions;
    metrics_.preemptions.Increment(
        static_cast<double>(scheduler_->num_preemptions() - num_preemptions));
    metrics_.preempted_tokens.Increment(
        static_cast<double>(scheduler_->num_preempted_tokens() - num_preempted_tokens));
    for (const Sequence* sequence : planned.admitted) OnAdmitted(*sequence);
    for (const ImageInput* image : planned.images_to_send) executor_.PutImage(epoch_, *image);
    if (!planned.plan.has_value()) return;
    num_swapped_out_blocks_ += static_cast<int64_t>(planned.plan->swaps_out.size());
    num_swapped_in_blocks_ += static_cast<int64_t>(planned.plan->swaps_in.size());
    metrics_.kv_blocks_swapped_out.Increment(static_cast<double>(planned.plan->swaps_out.size()));
    metrics_.kv_blocks_swapped_in.Increment(static_cast<double>(planned.plan->swaps_in.size()));
    metrics_.step_tokens.Observe(static_cast<double>(planned.plan->num_tokens()));
    executor_.Execute(std::move(*planned.plan));
  }
}

void Engine::OnAdmitted(const Sequence& sequence) {
  ActiveRequest& active = *sequence.owner;
  if (!active.is_admitted) requests_.SetExpiry(active, active.request->deadline);
  active.is_admitted = true;
  if (active.is_resumed || sequence.standing.was_preempted) return;
  retry_advice_.OnPlaceFree();
  if (active.admitted_at.has_value()) return;
  active.admitted_at = clock_.Now();
  metrics_.request_queue_seconds.Observe(Seconds(*active.admitted_at - active.submitted_at));
}

// Last in the turn, so that the workers already have their next plan.
void Engine::Report() {
  for (ActiveRequest* active : requests_with_events_) {
    for (TokenEvent& event : active->events) active->sink->OnEvent(std::move(event));
    active->events.clear();
  }
  requests_with_events_.clear();
  for (const Ended& ended : ended_) ended.request->sink->OnEnd(ended.status);
  ended_.clear();
  for (const RequestSummary& summary : summaries_) on_request_end_(summary);
  summaries_.clear();
  if (scheduler_ != nullptr && requests_.empty()) EndFailover();
  if (draining_ && requests_.empty()) {
    for (const auto& done : std::exchange(drain_waiters_, {})) done();
  }
  const TimePoint now = clock_.Now();
  if (scheduler_ == nullptr ? requests_.empty() : scheduler_->num_running() == 0)
    last_token_at_ = now;
  if (scheduler_ == nullptr || scheduler_->num_steps_in_flight() == 0) {
    last_step_at_ = now;
    retry_advice_.OnIdle(now);
  }
  metrics_.SetGauges(Stats());
}

// Without a group for long: requests go on with a neighbour's, as they are. After Report, so that
// what they had to tell is told.
void Engine::HandOver() {
  if (scheduler_ != nullptr || neighbours_ == nullptr || requests_.empty() ||
      clock_.Now() - without_group_since_ < kPatienceWithGroup || !neighbours_->HaveGroup())
    return;
  for (ActiveRequest* active : requests_.All()) {
    std::unique_ptr<ActiveRequest> taken = requests_.Take(*active);
    if (neighbours_->TakeOver(&taken)) {
      metrics_.requests_moved.Increment();
    } else {
      requests_.Add(std::move(taken));
    }
  }
}

Duration Engine::WaitTime() const {
  const Duration patience = gate_.IsFull() ? kGatePoll : kHeartbeat;
  if (requests_.next_expiry() == TimePoint::max()) return patience;
  return std::clamp(requests_.next_expiry() - clock_.Now(), Duration::zero(), patience);
}

}  // namespace longhand::engine
