// Executor: the one thread of a worker that computes, and the fence in front of it.
//
// The thread owns Ops, Communicator and ModelRunner. Everybody else leaves it work in a queue,
// under the epoch that the work belongs to; work of an epoch that is over is not done. An epoch
// goes through
//
//   configuring   the communicator forms, weights are loaded or kept
//   ready         images may be put; the stream of plans may open
//   open          plans are executed
//   closed        the communicator is aborted; waiting for the next epoch
//
// and a newer one closes it at any point. Where the device runs apart from the host, a plan begins
// while the one ahead of it runs, as far as the runner allows; results leave in order. Weights
// outlive epochs. A closed one may prepare: load what a configuration to come will need.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>

#include "common/bounded_queue.h"
#include "common/pulse_state.h"
#include "common/step_plan.h"
#include "worker/comm/communicator.h"
#include "worker/comm/key_value_store.h"
#include "worker/runner/model_runner.h"
#include "worker/service/device.h"
#include "worker/service/progress.h"
#include "worker/service/rank_setup.h"
#include "worker/service/worker_metrics.h"

namespace longhand::service {

struct SetupProgress {
  std::string phase;  // "communicator", "weights", "warm_up"
  int64_t bytes_done = 0;
  int64_t bytes_total = 0;
  bool ready = false;
  // With `ready`.
  int64_t weight_bytes = 0;
  int64_t kv_cache_bytes = 0;
};

class Executor {
 public:
  struct Options {
    Device device;
    RunnerFactory load_runner;
    WorkerMetrics& metrics;
    std::function<void(const std::string&)> log;  // one line
    std::string
        interface_name;  // where Gloo listens; empty: the address that the coordinator knows
  };
  // Called on the executor thread; must not wait. `on_done` is called once, last.
  struct SetupObserver {
    std::function<void(const SetupProgress&)> on_progress;
    std::function<void(const Status&)> on_done;
  };

  explicit Executor(Options options);
  // Waits for the thread.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // All methods may be called from any thread, and return at once.

  const Device& device() const { return options_.device; }
  int64_t epoch() const;  // the latest accepted one; 0: none
  bool ready() const;     // ready or open
  PulseState pulse() const;

  // Closes the epoch at hand and begins `setup`'s. kFailedPrecondition unless it is newer.
  Status Configure(RankSetup setup, SetupObserver observer);

  // Loads what `setup` needs, for a Configure to come. kFailedPrecondition while an epoch is at
  // hand.
  Status Prepare(RankSetup setup, std::function<void(const Status&)> on_done);

  // Opens the epoch for plans, once. `on_superseded` tells that somebody else closed it.
  Status Open(int64_t epoch, std::function<void(const Status&)> on_superseded);
  // kFailedPrecondition unless the epoch is open. `on_result` is called on the executor thread, in
  // order of plans.
  Status Execute(StepPlan plan, std::function<void(const StepResult&)> on_result);
  // Between two steps. Errors as ModelRunner::LoadAdapter, on the executor thread; at once, and
  // without a call of `on_done`, unless the epoch is ready or open.
  Status LoadAdapter(int64_t epoch,
                     AdapterSetup adapter,
                     std::function<void(const Status&)> on_done);
  // Copies the pixels before it returns.
  Status PutImage(int64_t epoch,
                  const ContentHash& hash,
                  int32_t height,
                  int32_t width,
                  std::span<const uint8_t> pixels);
  // Ends the epoch if it is still at hand: aborts the step in flight, or the forming of the group.
  void Close(int64_t epoch);

  // Ends the epoch at hand, takes no more work. False when the thread is still busy after
  // `patience`: a load cannot be interrupted.
  bool Stop(std::chrono::milliseconds patience);

 private:
  enum class Phase { kClosed, kConfiguring, kReady, kOpen };
  using Task = std::function<void()>;

  void Run();
  void SetUp(const RankSetup& setup, const std::stop_token& stop, const SetupObserver& observer);
  Status TrySetUp(const RankSetup& setup,
                  const std::stop_token& stop,
                  const SetupObserver& observer);
  Status FormGroup(const RankSetup& setup, const std::stop_token& stop);
  Status LoadOrKeep(const RankSetup& setup,
                    comm::Communicator& communicator,
                    const SetupObserver& observer);
  Status Load(const RankSetup& setup,
              comm::Communicator& communicator,
              const SetupObserver& observer);
  Status LoadAdapter(const AdapterSetup& adapter);
  Status ResetRunner(int64_t epoch);
  void ExecutePlan(const StepPlan& plan, const std::function<void(const StepResult&)>& on_result);
  // The next task, if there is one soon. Meanwhile steps that have begun may end.
  std::optional<Task> AwaitTask();
  // Of the oldest step that has begun: waits for it.
  void EndStep();
  void EndSteps();
  // What came of work on the device: ends the process where the device failed it for good.
  void CheckDevice(const Status& outcome) const;

  // With mutex_ held.
  void CloseLocked();
  Status CheckEpochLocked(int64_t epoch) const;

  const Options options_;
  Progress progress_;

  mutable std::mutex mutex_;
  int64_t epoch_ = 0;
  Phase phase_ = Phase::kClosed;
  bool stopped_ = false;
  std::stop_source forming_;  // of the epoch at hand
  std::function<void(const Status&)> on_superseded_;
  // Changed by the executor thread only, under mutex_, because others abort it.
  std::unique_ptr<comm::Communicator> communicator_;

  // Changed by the executor thread only, under runner_mutex_ held alone; PutImage() shares it.
  std::shared_mutex runner_mutex_;
  std::unique_ptr<runner::ModelRunner> runner_;
  std::string shard_key_;  // of runner_; executor thread
  int32_t rank_ = 0;       // in the epoch at hand; executor thread

  // Steps that the runner has begun, the oldest first. Executor thread.
  struct BegunStep {
    int64_t num_tokens = 0;
    std::function<void(const StepResult&)> on_result;
  };
  std::deque<BegunStep> begun_;

  BoundedQueue<Task> tasks_;
  std::condition_variable ended_;
  bool thread_ended_ = false;  // guarded by mutex_
  std::thread thread_;         // last: it uses all of the above
};

}  // namespace longhand::service
