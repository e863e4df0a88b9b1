// The executor without a wire: what callers on many threads may do to it. Also meant for a thread
// sanitizer, which gRPC itself does not go with.
#include "worker/service/executor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/service/fake_runner.h"

namespace longhand::service {
namespace {

RankSetup SetupOf(int64_t epoch, int rank, int size) {
  RankSetup setup;
  setup.epoch = epoch;
  setup.model_directory = "/no/such/model";
  setup.communicator.rank = rank;
  setup.communicator.size = size;
  setup.communicator.group = "executor-test-" + std::to_string(getpid());
  setup.communicator.epoch = epoch;
  setup.communicator.transport = comm::Transport::kSharedMemory;
  setup.communicator.timeout = std::chrono::hours(1);
  return setup;
}

StepPlan Plan(int64_t epoch, int64_t step) {
  StepPlan plan{.epoch = epoch, .step = step};
  plan.chunks.push_back(
      {.sequence_id = 7, .token_ids = {1}, .positions = {0, 0, 0}, .sample = true});
  return plan;
}

class ExecutorTest : public testing::Test {
 protected:
  Executor::Options OptionsWith(RunnerLog& log) {
    return {.device = OpenDevice("reference", 1).value(),
            .load_runner = FakeRunners(log),
            .metrics = metrics_,
            .log = [](const std::string&) {}};
  }
  Status Configure(Executor& executor, int64_t epoch, std::function<void(const Status&)> on_done) {
    return executor.Configure(
        SetupOf(epoch, &executor == &zero_ ? 0 : 1, 2),
        {.on_progress = [](const SetupProgress&) {}, .on_done = std::move(on_done)});
  }

  WorkerMetrics metrics_{NoMetrics()};
  RunnerLog zero_log_;
  RunnerLog one_log_;
  Executor zero_{OptionsWith(zero_log_)};
  Executor one_{OptionsWith(one_log_)};
};

// A worker alone: what it holds, and when it may be given more.
TEST_F(ExecutorTest, AdaptersAreReadWithTheConfigurationAndBetweenSteps) {
  const auto load = [&](int64_t epoch, int64_t slot) {
    std::promise<Status> result;
    const Status queued =
        zero_.LoadAdapter(epoch, {.slot = slot, .directory = "/no/such", .identity = "x"},
                          [&](const Status& status) { result.set_value(status); });
    return queued.ok() ? result.get_future().get() : queued;
  };
  const auto configure = [&](int64_t epoch) {
    RankSetup setup = SetupOf(epoch, 0, 1);
    setup.communicator.transport = comm::Transport::kSingle;
    setup.adapters = {{.slot = 2, .directory = "/no/such", .identity = "y"}};
    std::promise<Status> result;
    const Status accepted = zero_.Configure(
        setup, {.on_progress = [](const SetupProgress&) {},
                .on_done = [&](const Status& status) { result.set_value(status); }});
    return accepted.ok() ? result.get_future().get() : accepted;
  };
  EXPECT_EQ(load(1, 0).code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(configure(1).ok());
  EXPECT_TRUE(load(1, 0).ok());
  EXPECT_EQ(zero_log_.adapters, (std::vector<std::string>{"2 y", "0 x"}));
  EXPECT_EQ(load(2, 0).code(), StatusCode::kFailedPrecondition);
  // Files that went are no reason to give the group up for good.
  zero_log_.next_adapter = NotFound("there is no adapter_config.json");
  EXPECT_EQ(load(1, 0).code(), StatusCode::kNotFound);
  EXPECT_EQ(configure(2).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(zero_log_.loads, 1);
}

// Epochs come and go while two ranks are in collectives, and callers of older epochs know nothing
// of it.
TEST_F(ExecutorTest, EpochsMayEndAtAnyMoment) {
  constexpr int64_t kEpochs = 60;
  std::atomic<int64_t> epoch{0};
  std::atomic<int> set_up{0};
  std::atomic<bool> over{false};

  const auto use = [&](Executor& executor, uint32_t seed) {
    std::mt19937 random(seed);
    const std::vector<uint8_t> pixels(300);
    while (!over) {
      // Mostly the epoch at hand, sometimes the one before.
      const int64_t mine = epoch - (random() % 4 == 0 ? 1 : 0);
      (void)executor.Open(mine, [](const Status&) {});
      for (int64_t step = 1; step <= 3; ++step) {
        (void)executor.Execute(Plan(mine, step), [mine, step](const StepResult& result) {
          EXPECT_EQ(result.epoch, mine);
          EXPECT_EQ(result.step, step);
        });
      }
      (void)executor.PutImage(mine, ContentHash{}, 10, 10, pixels);
      if (random() % 16 == 0) executor.Close(mine);
      std::this_thread::yield();
    }
  };
  std::vector<std::jthread> users;
  for (uint32_t seed = 1; seed <= 2; ++seed) {
    users.emplace_back([&, seed] { use(zero_, seed); });
    users.emplace_back([&, seed] { use(one_, seed + 100); });
  }
  int accepted = 0;
  std::mt19937 random(/*seed=*/5);
  for (int64_t next = 1; next <= kEpochs; ++next) {
    for (Executor* executor : {&zero_, &one_}) {
      // A full queue refuses: nothing is done then, and the next epoch comes.
      if (Configure(*executor, next, [&](const Status&) { ++set_up; }).ok()) ++accepted;
    }
    epoch = next;
    for (uint32_t turns = random() % 400; turns > 0; --turns) std::this_thread::yield();
  }
  over = true;
  users.clear();
  EXPECT_TRUE(zero_.Stop(std::chrono::minutes(1)));
  EXPECT_TRUE(one_.Stop(std::chrono::minutes(1)));
  EXPECT_GT(accepted, 0);
  EXPECT_EQ(set_up, accepted);
}

TEST_F(ExecutorTest, AFullQueueIsRefusedAtOnce) {
  for (Executor* executor : {&zero_, &one_}) {
    ASSERT_TRUE(Configure(*executor, 1, [](const Status&) {}).ok());
  }
  while (!zero_.ready()) std::this_thread::yield();
  ASSERT_TRUE(zero_.Open(1, [](const Status&) {}).ok());
  // Its first step waits for a peer that has none, so nothing more is taken from the queue.
  Status status;
  for (int64_t step = 1; status.ok() && step < 1000; ++step) {
    status = zero_.Execute(Plan(1, step), [](const StepResult&) {});
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
}

TEST_F(ExecutorTest, APieceOfMemoryIsProgress) {
  std::optional<Executor> executor;
  std::promise<uint64_t> progress;
  Executor::Options options = OptionsWith(zero_log_);
  options.load_runner = [&](const RankSetup& setup, kernels::Ops&, comm::Communicator&,
                            const model::LoadProgress&) {
    const uint64_t before = executor->pulse().progress;
    setup.runner.on_piece();
    progress.set_value(executor->pulse().progress - before);
    return Result<std::unique_ptr<runner::ModelRunner>>(Unavailable("no runner"));
  };
  executor.emplace(std::move(options));
  RankSetup setup = SetupOf(1, 0, 1);
  setup.communicator.transport = comm::Transport::kSingle;
  ASSERT_TRUE(executor
                  ->Configure(setup, {.on_progress = [](const SetupProgress&) {},
                                      .on_done = [](const Status&) {}})
                  .ok());
  EXPECT_EQ(progress.get_future().get(), 1u);
}

// What comes of a configuration, and of a step if there is one, where work fails on a device in
// this state.
Status FailOn(const Status& state, RunnerFactory runners) {
  WorkerMetrics metrics{NoMetrics()};
  Device device = OpenDevice("reference", 1).value();
  device.state = [state] { return state; };
  Executor executor({.device = std::move(device),
                     .load_runner = std::move(runners),
                     .metrics = metrics,
                     .log = [](const std::string&) {}});
  RankSetup setup = SetupOf(1, 0, 1);
  setup.communicator.transport = comm::Transport::kSingle;
  std::promise<Status> configured, stepped;
  Status status =
      executor.Configure(setup, {.on_progress = [](const SetupProgress&) {},
                                 .on_done = [&](const Status& s) { configured.set_value(s); }});
  if (status.ok()) status = configured.get_future().get();
  if (status.ok()) status = executor.Open(1, [](const Status&) {});
  if (status.ok()) {
    status = executor.Execute(Plan(1, 1),
                              [&](const StepResult& result) { stepped.set_value(result.status); });
  }
  return status.ok() ? stepped.get_future().get() : status;
}

// Nothing else would make it start again, and it would fail at all that it is given.
TEST(ExecutorDeathTest, ADeviceThatFailedForGoodEndsTheProcess) {
  const Status failed = Internal("launch of Linear: unspecified launch failure");
  const Status lost = Unavailable("the GPU: unspecified launch failure");
  RunnerLog log{.next_load = failed};
  EXPECT_EQ(FailOn(OkStatus(), FakeRunners(log)), failed);
  log.next_load = failed;
  EXPECT_DEATH((void)FailOn(lost, FakeRunners(log)), "the GPU: unspecified launch failure");
  LateLog late{.may_end = 1, .first = failed};
  EXPECT_EQ(FailOn(OkStatus(), LateRunners(late)), failed);
  EXPECT_DEATH((void)FailOn(lost, LateRunners(late)), "the GPU: unspecified launch failure");
}

// A device that runs apart from the host.
class LateExecutorTest : public testing::Test {
 protected:
  LateExecutorTest() {
    auto ops = kernels::CreateEmulatedOps({.runs_apart = true});
    LONGHAND_CHECK(ops.ok()) << ops.status();
    executor_.emplace(Executor::Options{.device = {.ops = std::move(ops).value()},
                                        .load_runner = LateRunners(log_),
                                        .metrics = metrics_,
                                        .log = [](const std::string&) {}});
    Configure(1);
  }
  void Configure(int64_t epoch) {
    RankSetup setup = SetupOf(epoch, 0, 1);
    setup.communicator.transport = comm::Transport::kSingle;
    const Status status = executor_->Configure(
        std::move(setup),
        {.on_progress = [](const SetupProgress&) {}, .on_done = [](const Status&) {}});
    LONGHAND_CHECK(status.ok()) << status;
    while (!executor_->ready()) std::this_thread::yield();
    const Status open = executor_->Open(epoch, [](const Status&) {});
    LONGHAND_CHECK(open.ok()) << open;
  }
  void Execute(int64_t step) {
    const Status status = executor_->Execute(Plan(1, step), [this](const StepResult& result) {
      std::lock_guard lock(mutex_);
      results_.push_back(result);
      num_results_ = static_cast<int>(results_.size());
    });
    LONGHAND_CHECK(status.ok()) << status;
  }
  static void Await(const std::atomic<int>& number, int value) {
    while (number < value) std::this_thread::yield();
  }

  WorkerMetrics metrics_{NoMetrics()};
  LateLog log_;
  std::mutex mutex_;
  std::vector<StepResult> results_;  // guarded by mutex_
  std::atomic<int> num_results_{0};
  std::optional<Executor> executor_;  // last: it uses all of the above
};

TEST_F(LateExecutorTest, APlanBeginsWhileTheOneAheadOfItRuns) {
  Execute(1);
  Await(log_.begun, 1);
  Execute(2);
  Await(log_.begun, 2);
  Execute(3);
  // What runs on the device is work, for who looks whether the worker hangs.
  while (!executor_->pulse().is_busy) std::this_thread::yield();
  EXPECT_EQ(num_results_, 0);
  log_.may_end = 1;
  Await(num_results_, 1);
  Await(log_.begun, 3);
  log_.may_end = 3;
  Await(num_results_, 3);
  for (int i = 0; i < 3; ++i) {
    const StepResult& result = results_[static_cast<size_t>(i)];
    EXPECT_EQ(result.step, i + 1);
    EXPECT_EQ(result.sequences.at(0).tokens.at(0).token_id, 100 * (i + 1));
  }
}

TEST_F(LateExecutorTest, AnErrorEndsTheGroupWhenTheNextStepHasBegun) {
  log_.first = Unavailable("the device is gone");
  Execute(1);
  Execute(2);
  Await(log_.begun, 2);
  Execute(3);
  log_.may_end = 1;
  Await(num_results_, 3);
  EXPECT_EQ(results_[0].status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(results_[1].status.code(), StatusCode::kAborted);
  EXPECT_EQ(results_[2].status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(log_.begun, 2);
  EXPECT_EQ(executor_->Execute(Plan(1, 4), [](const StepResult&) {}).code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(LateExecutorTest, ANewEpochDoesNotWaitForStepsOfTheOld) {
  Execute(1);
  Execute(2);
  Await(log_.begun, 2);
  Configure(2);
  Await(num_results_, 2);
  for (const StepResult& result : results_) {
    EXPECT_EQ(result.status.code(), StatusCode::kAborted);
  }
}

}  // namespace
}  // namespace longhand::service
