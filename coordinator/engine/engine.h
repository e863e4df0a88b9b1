// Engine: the one thread that turns requests and step results into plans and token events.
//
// Commands and results meet in one mailbox; a turn takes them, plans ahead, and reports. Methods
// marked "any thread" only put a message there. Everything else belongs to the thread that calls
// Run() (or, in tests, Turn()).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/bounded_queue.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/thread_checker.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/delivered.h"
#include "coordinator/engine/delivery_gate.h"
#include "coordinator/engine/engine_metrics.h"
#include "coordinator/engine/engine_stats.h"
#include "coordinator/engine/length_estimate.h"
#include "coordinator/engine/neighbours.h"
#include "coordinator/engine/queue_totals.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/request_summary.h"
#include "coordinator/engine/request_table.h"
#include "coordinator/engine/retry_advice.h"
#include "coordinator/engine/scheduler.h"
#include "coordinator/engine/step_executor.h"
#include "coordinator/engine/text_state.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

// What the engine works with; all outlive it.
struct EngineParts {
  StepExecutor& executor;
  const TextStateFactory& text;
  const Clock& clock;
  Metrics& metrics;
  const DeliveryGate& gate;
  RequestObserver on_request_end;  // of each request once, refused ones too; may be empty
  // What waits in this engine and in the others that share the bound of the queue.
  std::shared_ptr<QueueTotals> waiting = std::make_shared<QueueTotals>();
};

class Engine final : public GroupListener {
 public:
  // `config` passed CheckConfig.
  Engine(const EngineConfig& config, const EngineParts& parts);

  // Any thread. Takes a request: from here on the sink is told what becomes of it. kInvalidArgument
  // when the request contradicts itself, kResourceExhausted when too many commands wait,
  // kUnavailable after Stop; the sink is then destroyed untold. Later refusals come through
  // TokenSink::OnEnd.
  Status Submit(std::shared_ptr<const Request> request, std::unique_ptr<TokenSink> sink);
  // Any thread. Takes a request of an earlier engine: it goes on after what was delivered, with the
  // same tokens. Neither the queue nor a missing worker group refuses it. Errors as Submit.
  Status Restore(std::shared_ptr<const Request> request,
                 Delivered delivered,
                 std::unique_ptr<TokenSink> sink);
  // Any thread, for Neighbours. As Submit, and a request that another engine had, as it is. False,
  // and what was given stays where it is, when too many commands wait, or after Stop.
  bool TakeNew(std::shared_ptr<const Request> request, std::unique_ptr<TokenSink>* sink);
  bool TakeOver(std::unique_ptr<ActiveRequest>* active);
  // Any thread. Ends the request with kCancelled; its blocks are free when the steps in flight are
  // back. `done` (may be empty) runs on the engine thread: OK, or kNotFound. Returns
  // kResourceExhausted or kUnavailable as Submit.
  Status Cancel(std::string request_id, std::function<void(const Status&)> done);
  // The same when a client goes away; another call's request of this id goes on, and `done` is told
  // OK.
  Status CancelCall(std::string request_id,
                    int64_t call,
                    std::function<void(const Status&)> done = nullptr);
  // Any thread. Refuses new requests with kUnavailable; `done` runs on the engine thread when no
  // request is left. kUnavailable after Stop, and nothing else: what waits does not refuse it.
  Status Drain(std::function<void()> done);
  // Any thread. `done` runs on the engine thread.
  Status GetStats(std::function<void(const EngineStats&)> done);
  // Any thread. Run() returns; requests that are open have not ended, and another engine may
  // restore them.
  void Stop() { mailbox_.Close(); }

  // Before Run: where requests go when no worker group is up here. They outlive the engine's
  // thread.
  void SetNeighbours(Neighbours& neighbours) { neighbours_ = &neighbours; }
  // Any thread: whether a worker group is up, as far as the latest turn knew.
  bool has_group() const { return has_group_; }

  // Any thread: the worker group's side.
  void OnGroupUp(int64_t epoch, const GroupShape& shape) override { Post(GroupUp{epoch, shape}); }
  void OnGroupDown(int64_t epoch, const Status& why) override { Post(GroupDown{epoch, why}); }
  void OnImageReady(int64_t epoch, const ContentHash& image) override {
    Post(ImageReady{epoch, image});
  }
  void OnStepResult(StepResult result) override { Post(std::move(result)); }

  // Turns until Stop().
  void Run();
  // One turn; waits at most `max_wait` for the first message.
  void Turn(Duration max_wait);

  EngineStats Stats() const;
  void CheckInvariants() const;

 private:
  struct SubmitCommand {
    std::shared_ptr<const Request> request;
    std::unique_ptr<TokenSink> sink;
    TimePoint submitted_at;
  };
  struct RestoreCommand {
    std::shared_ptr<const Request> request;
    Delivered delivered;
    std::unique_ptr<TokenSink> sink;
  };
  struct TakeOverCommand {
    std::unique_ptr<ActiveRequest> active;
  };
  struct CancelCommand {
    std::string request_id;
    std::function<void(const Status&)> done;
    std::optional<int64_t> call;  // whoever's it is
  };
  struct DrainCommand {
    std::function<void()> done;
  };
  struct StatsCommand {
    std::function<void(const EngineStats&)> done;
  };
  struct GroupUp {
    int64_t epoch;
    GroupShape shape;
  };
  struct GroupDown {
    int64_t epoch;
    Status why;
  };
  struct ImageReady {
    int64_t epoch;
    ContentHash image;
  };
  using Message = std::variant<SubmitCommand,
                               RestoreCommand,
                               TakeOverCommand,
                               CancelCommand,
                               DrainCommand,
                               StatsCommand,
                               GroupUp,
                               GroupDown,
                               ImageReady,
                               StepResult>;

  // The mailbox from outside (engine_mailbox.cc).
  Status PostCommand(Message command, size_t max_queued);
  void Post(Message message);

  // The turn (engine.cc).
  void TakeMessages(Duration max_wait);
  void EndExpired();
  void SendPlans();
  void Report();
  void HandOver();
  Duration WaitTime() const;

  // One for each message (engine_commands.cc, engine_group.cc).
  void Handle(SubmitCommand& command);
  void Handle(RestoreCommand& command);
  void Handle(TakeOverCommand& command);
  void Handle(CancelCommand& command);
  void Handle(DrainCommand& command);
  void Handle(StatsCommand& command);
  void Handle(GroupUp& message);
  void Handle(GroupDown& message);
  void Handle(ImageReady& message);
  void Handle(StepResult& result);

  void OnAdmitted(const Sequence& sequence);
  Status CheckAdmission(const Request& request);
  // With the time at which to try again.
  Status Exhausted(const Request& request, const std::string& why);
  Status WaitedTooLong(const ActiveRequest& active);
  ActiveRequest& Open(std::shared_ptr<const Request> request, std::unique_ptr<TokenSink> sink);
  void QueueOpenChoices(ActiveRequest& active);
  std::unique_ptr<Sequence> MakeSequence(ActiveRequest& active, Choice& choice);
  Status Constrain(Choice& choice, Sequence& sequence);
  void Advance(Scheduler::Progress& progress);
  void TellPromptLogprobs(ActiveRequest& active, const Scheduler::Progress& progress);
  void CountPrompt(ActiveRequest& active, const Sequence& sequence);
  void AddToken(ActiveRequest& active, Choice& choice, SampledToken token);
  bool IsContextFull(const ActiveRequest& active, const Choice& choice) const;
  void EndChoice(ActiveRequest& active, Choice& choice, TokenEvent event);
  void CountWords(Choice& choice);
  void CountLoops(Choice& choice);
  void Conclude(RequestSummary summary);
  void EndFailover();
  void Emit(ActiveRequest& active, TokenEvent event);
  void EndRequest(ActiveRequest& active, Status status);
  void LoseGroup(const Status& why);
  void Resume(ActiveRequest& active);

  const EngineConfig config_;
  StepExecutor& executor_;
  const TextStateFactory& text_;
  const Clock& clock_;
  const DeliveryGate& gate_;
  const RequestObserver on_request_end_;
  const std::shared_ptr<QueueTotals> waiting_;  // shared with other engines
  Neighbours* neighbours_ = nullptr;            // none: requests wait for the next group
  EngineMetrics metrics_;
  BoundedQueue<Message> mailbox_;
  ThreadChecker thread_;

  RequestTable requests_;
  LengthEstimate lengths_{config_.length_quantile};
  RetryAdvice retry_advice_;
  std::unique_ptr<Scheduler> scheduler_;  // null while no worker group is up
  std::atomic<bool> has_group_ = false;   // the same for other threads
  TimePoint without_group_since_;         // while none is up
  int64_t epoch_ = 0;                     // of the latest group
  Status group_status_;                   // why none is up
  int64_t next_sequence_id_ = 1;
  int64_t next_arrival_ = 1;
  bool draining_ = false;
  std::vector<std::function<void()>> drain_waiters_;

  std::vector<ActiveRequest*> at_dead_ends_;  // by the step that is being taken

  // What Report() tells.
  struct Ended {
    std::unique_ptr<ActiveRequest> request;
    Status status;
  };
  std::vector<ActiveRequest*> requests_with_events_;
  std::vector<Ended> ended_;
  std::vector<RequestSummary> summaries_;

  std::optional<TimePoint> group_lost_at_;  // until tokens come again
  TimePoint last_token_at_;
  TimePoint last_step_at_;
  int64_t num_prompt_tokens_ = 0;
  int64_t num_generated_tokens_ = 0;
  int64_t num_preemptions_ = 0;  // with groups that are lost
  int64_t num_swapped_out_blocks_ = 0;
  int64_t num_swapped_in_blocks_ = 0;
};

}  // namespace longhand::engine
