#include "worker/service/executor.h"

#include <exception>
#include <sstream>
#include <utility>

#include "worker/service/absent_group.h"
#include "worker/service/rendezvous_client.h"
#include "worker/service/watched_communicator.h"

namespace longhand::service {
namespace {

// Plans one ahead, a configuration or two, and what is being closed: far more than ever waits.
constexpr size_t kMaxTasks = 64;
// An idle thread shows this often that it turns.
constexpr std::chrono::milliseconds kIdleTurn{100};

int64_t BytesOf(const model::MemoryBudget& memory, std::string_view suffix) {
  int64_t bytes = 0;
  for (const model::MemoryBudget::Part& part : memory.parts) {
    if (std::string_view(part.name).ends_with(suffix)) bytes += part.bytes;
  }
  return bytes;
}

// How a step ends when a collective does: what is queued behind it must not begin.
bool EndsTheGroup(const Status& status) {
  return status.code() == StatusCode::kAborted || status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kDeadlineExceeded;
}

template <typename... Parts>
std::string Join(const Parts&... parts) {
  std::ostringstream line;
  (line << ... << parts);
  return line.str();
}

}  // namespace

Executor::Executor(Options options)
    : options_(std::move(options)), tasks_(kMaxTasks), thread_([this] { Run(); }) {}

Executor::~Executor() {
  Stop(std::chrono::milliseconds(0));
  thread_.join();
}

bool Executor::Stop(std::chrono::milliseconds patience) {
  std::function<void(const Status&)> on_superseded;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    CloseLocked();
    on_superseded = std::exchange(on_superseded_, nullptr);
  }
  tasks_.Close();
  if (on_superseded) on_superseded(Unavailable("the worker is stopping"));
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, patience, [&] { return thread_ended_; });
}

int64_t Executor::epoch() const {
  std::lock_guard lock(mutex_);
  return epoch_;
}

bool Executor::ready() const {
  std::lock_guard lock(mutex_);
  return phase_ == Phase::kReady || phase_ == Phase::kOpen;
}

PulseState Executor::pulse() const {
  const std::optional<uint64_t> pieces = options_.device.ops->WorkMark();
  return {.epoch = epoch(),
          .progress = progress_.turns() + pieces.value_or(0),
          .is_busy = progress_.is_busy(),
          .waits_for_peers = progress_.waits_for_peers(),
          .tells_pieces = pieces.has_value()};
}

Status Executor::Prepare(RankSetup setup, std::function<void(const Status&)> on_done) {
  std::lock_guard lock(mutex_);
  if (phase_ != Phase::kClosed) {
    return FailedPrecondition("epoch ", epoch_, " is at hand; only a worker without one prepares");
  }
  return tasks_.Push([this, setup = std::move(setup), on_done = std::move(on_done)] {
    AbsentGroup absent(setup.communicator.rank, setup.communicator.size);
    EndSteps();
    const Status status = LoadOrKeep(setup, absent, {.on_progress = [](const SetupProgress&) {}});
    options_.log(Join("prepared as rank ", setup.communicator.rank, " of ", setup.communicator.size,
                      ": ", status));
    CheckDevice(status);
    on_done(status);
  });
}

Status Executor::Configure(RankSetup setup, SetupObserver observer) {
  std::function<void(const Status&)> on_superseded;
  const int64_t epoch = setup.epoch;
  Status queued;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return Unavailable("the worker is stopping");
    if (epoch <= epoch_) {
      return FailedPrecondition("epoch ", epoch, " is over; this worker is in epoch ", epoch_);
    }
    CloseLocked();
    on_superseded = std::exchange(on_superseded_, nullptr);
    epoch_ = epoch;
    queued = tasks_.Push([this, setup = std::move(setup), stop = forming_.get_token(),
                          observer = std::move(observer)] {
      EndSteps();
      SetUp(setup, stop, observer);
    });
    if (queued.ok()) phase_ = Phase::kConfiguring;
  }
  if (on_superseded) on_superseded(Aborted("epoch ", epoch, " has begun"));
  return queued;
}

void Executor::CloseLocked() {
  phase_ = Phase::kClosed;
  options_.metrics.OnReady(false);
  forming_.request_stop();
  forming_ = std::stop_source();
  if (communicator_) communicator_->Abort();
}

void Executor::Close(int64_t epoch) {
  std::lock_guard lock(mutex_);
  if (epoch != epoch_) return;
  on_superseded_ = nullptr;
  CloseLocked();
}

Status Executor::CheckEpochLocked(int64_t epoch) const {
  if (epoch != epoch_) {
    return FailedPrecondition("epoch ", epoch, " is not this worker's; it is in epoch ", epoch_);
  }
  switch (phase_) {
    case Phase::kClosed:
      return FailedPrecondition("epoch ", epoch, " has ended; the worker waits for a newer one");
    case Phase::kConfiguring:
      return FailedPrecondition("epoch ", epoch, " is still being configured");
    default:
      return OkStatus();
  }
}

Status Executor::Open(int64_t epoch, std::function<void(const Status&)> on_superseded) {
  std::lock_guard lock(mutex_);
  LONGHAND_RETURN_IF_ERROR(CheckEpochLocked(epoch));
  if (phase_ == Phase::kOpen) {
    return FailedPrecondition("epoch ", epoch, " has a stream already; there is one an epoch");
  }
  phase_ = Phase::kOpen;
  on_superseded_ = std::move(on_superseded);
  return OkStatus();
}

Status Executor::Execute(StepPlan plan, std::function<void(const StepResult&)> on_result) {
  std::lock_guard lock(mutex_);
  LONGHAND_RETURN_IF_ERROR(CheckEpochLocked(plan.epoch));
  if (phase_ != Phase::kOpen) return FailedPrecondition("no stream is open");
  return tasks_.Push([this, plan = std::move(plan), on_result = std::move(on_result)] {
    ExecutePlan(plan, on_result);
  });
}

Status Executor::LoadAdapter(int64_t epoch,
                             AdapterSetup adapter,
                             std::function<void(const Status&)> on_done) {
  std::lock_guard lock(mutex_);
  LONGHAND_RETURN_IF_ERROR(CheckEpochLocked(epoch));
  return tasks_.Push([this, epoch, adapter = std::move(adapter), on_done = std::move(on_done)] {
    EndSteps();
    Status over;
    {
      std::lock_guard lock(mutex_);
      over = CheckEpochLocked(epoch);
    }
    on_done(over.ok() ? LoadAdapter(adapter) : over);
  });
}

Status Executor::PutImage(int64_t epoch,
                          const ContentHash& hash,
                          int32_t height,
                          int32_t width,
                          std::span<const uint8_t> pixels) {
  std::shared_lock runner_lock(runner_mutex_);
  {
    std::lock_guard lock(mutex_);
    LONGHAND_RETURN_IF_ERROR(CheckEpochLocked(epoch));
  }
  // The epoch may end now, but its runner cannot be reset before this lock is released.
  return runner_->PutImage(hash, height, width, pixels);
}

// --- executor thread -----------------------------------------------------------------------------

void Executor::Run() {
  if (options_.device.use_on_thread) {
    const Status usable = options_.device.use_on_thread();
    LONGHAND_CHECK(usable.ok()) << usable;
  }
  try {
    while (true) {
      const std::optional<Task> task = AwaitTask();
      progress_.Note();
      if (task.has_value()) {
        const Progress::Work work(progress_);
        (*task)();
      } else if (tasks_.closed()) {
        break;
      }
    }
  } catch (const std::exception& error) {
    // Our code throws nothing, and a step that was left half-way cannot go on.
    LONGHAND_CHECK(false) << "executor thread: " << error.what();
  }
  std::lock_guard lock(mutex_);
  thread_ended_ = true;
  ended_.notify_all();
}

std::optional<Executor::Task> Executor::AwaitTask() {
  std::optional<Progress::Work> work;
  if (!begun_.empty()) work.emplace(progress_);
  while (!begun_.empty()) {
    if (std::optional<Task> task = tasks_.TryPop()) return task;
    if (runner_->HasEnded()) {
      EndStep();
    } else {
      std::this_thread::yield();
    }
  }
  work.reset();
  return tasks_.PopFor(kIdleTurn);
}

void Executor::SetUp(const RankSetup& setup,
                     const std::stop_token& stop,
                     const SetupObserver& observer) {
  const Status status = TrySetUp(setup, stop, observer);
  if (status.ok()) {
    options_.log(Join("epoch ", setup.epoch, ": ready as rank ", setup.communicator.rank, " of ",
                      setup.communicator.size));
  } else {
    options_.log(Join("epoch ", setup.epoch, ": not ready: ", status));
    CheckDevice(status);
    Close(setup.epoch);
  }
  observer.on_done(status);
}

Status Executor::TrySetUp(const RankSetup& setup,
                          const std::stop_token& stop,
                          const SetupObserver& observer) {
  options_.metrics.OnEpoch(setup.epoch, setup.group, setup.communicator.rank);
  rank_ = setup.communicator.rank;
  // The group forms first: its ranks are configured at one time, but may take long to load.
  observer.on_progress({.phase = "communicator"});
  LONGHAND_RETURN_IF_ERROR(FormGroup(setup, stop));
  LONGHAND_RETURN_IF_ERROR(LoadOrKeep(setup, *communicator_, observer));
  LONGHAND_RETURN_IF_ERROR(ResetRunner(setup.epoch));
  {
    std::lock_guard lock(mutex_);
    if (stop.stop_requested()) return Aborted("epoch ", setup.epoch, " has ended");
    phase_ = Phase::kReady;
    options_.metrics.OnReady(true);
  }
  const model::MemoryBudget& memory = runner_->memory();
  observer.on_progress({.phase = "warm_up",
                        .ready = true,
                        .weight_bytes = BytesOf(memory, "weights"),
                        .kv_cache_bytes = BytesOf(memory, "KV cache")});
  return OkStatus();
}

Status Executor::FormGroup(const RankSetup& setup, const std::stop_token& stop) {
  std::unique_ptr<comm::Communicator> old;
  {
    std::lock_guard lock(mutex_);
    old = std::move(communicator_);
  }
  if (runner_ != nullptr) runner_->LeaveGroup();
  old.reset();  // Its peers are told, if they still wait.
  RendezvousClient store(setup.rendezvous_address);
  comm::CommunicatorConfig config = setup.communicator;
  config.device = options_.device.stream.get();
  // Handles pass through the rendezvous.
  if (!setup.rendezvous_address.empty()) config.peers = options_.device.peers;
  config.log = options_.log;
  if (!options_.interface_name.empty()) {
    config.host.clear();
    config.interface_name = options_.interface_name;
  }
  Result<std::unique_ptr<comm::Communicator>> formed = [&] {
    const Progress::Wait wait(progress_);
    return comm::CreateCommunicator(config, store, stop);
  }();
  if (!formed.ok()) return formed.status();
  std::lock_guard lock(mutex_);
  if (stop.stop_requested()) return Aborted("epoch ", setup.epoch, " has ended");
  communicator_ = std::make_unique<WatchedCommunicator>(
      std::move(formed).value(), progress_,
      options_.metrics.OfCollectives(config.transport, /*on_host=*/config.device == nullptr));
  return OkStatus();
}

Status Executor::LoadOrKeep(const RankSetup& setup,
                            comm::Communicator& communicator,
                            const SetupObserver& observer) {
  const std::string key = setup.ShardKey();
  if (runner_ == nullptr || key != shard_key_) {
    LONGHAND_RETURN_IF_ERROR(Load(setup, communicator, observer));
    shard_key_ = key;
  }
  for (const AdapterSetup& adapter : setup.adapters) {
    const Status status = LoadAdapter(adapter);
    // Its files were there before, and may be again: worth another try.
    if (!status.ok()) return FailedPrecondition(status.message());
  }
  return OkStatus();
}

Status Executor::LoadAdapter(const AdapterSetup& adapter) {
  const Status status = runner_->LoadAdapter(adapter.slot, adapter.identity, adapter.directory);
  progress_.Note();
  options_.log(
      Join("adapter of ", adapter.directory.string(), " in slot ", adapter.slot, ": ", status));
  return status.WithContext("the adapter of " + adapter.directory.string());
}

Status Executor::ResetRunner(int64_t epoch) {
  std::unique_lock lock(runner_mutex_);
  return runner_->ResetForEpoch(epoch, *communicator_);
}

Status Executor::Load(const RankSetup& setup,
                      comm::Communicator& communicator,
                      const SetupObserver& observer) {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_ptr<runner::ModelRunner> old;
  {
    std::unique_lock lock(runner_mutex_);
    old = std::move(runner_);
  }
  old.reset();  // Its memory first: there may not be room for two.
  const auto on_bytes = [&](int64_t done, int64_t total) {
    progress_.Note();
    observer.on_progress({.phase = "weights", .bytes_done = done, .bytes_total = total});
  };
  RankSetup told = setup;
  told.runner.log = options_.log;
  told.runner.on_piece = [this] { progress_.Note(); };
  LONGHAND_ASSIGN_OR_RETURN(
      auto loaded, options_.load_runner(told, *options_.device.ops, communicator, on_bytes));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  options_.metrics.OnLoaded(loaded->memory(), seconds.count());
  options_.log(Join("loaded in ", seconds.count(), " s; memory of rank ", setup.communicator.rank,
                    ":\n", model::ToTable(loaded->memory())));
  std::unique_lock lock(runner_mutex_);
  runner_ = std::move(loaded);
  return OkStatus();
}

void Executor::ExecutePlan(const StepPlan& plan,
                           const std::function<void(const StepResult&)>& on_result) {
  const auto fence = [&] {
    std::lock_guard lock(mutex_);
    return CheckEpochLocked(plan.epoch);
  };
  // A step that ends meanwhile may end the epoch.
  while (fence().ok() && !runner_->MayBegin(plan)) EndStep();
  if (Status over = fence(); !over.ok()) {
    EndSteps();
    return on_result(
        {.epoch = plan.epoch, .step = plan.step, .rank = rank_, .status = std::move(over)});
  }
  runner_->Begin(plan);
  begun_.push_back({plan.num_tokens(), on_result});
  if (!options_.device.ops->RunsApart()) EndStep();
}

void Executor::EndStep() {
  const StepResult result = runner_->End();
  const BegunStep step = std::move(begun_.front());
  begun_.pop_front();
  progress_.Note();
  options_.metrics.OnStep(step.num_tokens, result);
  CheckDevice(result.status);
  step.on_result(result);
  if (!EndsTheGroup(result.status)) return;
  std::lock_guard lock(mutex_);
  if (result.epoch == epoch_) CloseLocked();
}

void Executor::EndSteps() {
  while (!begun_.empty()) EndStep();
}

// Another process may find the device in order. The supervisor would take an orderly end for one
// that a restart cannot mend.
void Executor::CheckDevice(const Status& outcome) const {
  if (outcome.ok() || !options_.device.state) return;
  const Status state = options_.device.state();
  LONGHAND_CHECK(state.ok()) << state << "; the worker ends, to be started again";
}

}  // namespace longhand::service
