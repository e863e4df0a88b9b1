// The engine on a thread of its own, as in production: real waiting, commands from other threads.
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include "coordinator/engine/engine.h"
#include "tests/unit/coordinator/engine/expected_answer.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/fake_workers.h"
#include "tests/unit/coordinator/engine/promise_sink.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

// Runs each plan at once; the result comes back through the mailbox like any other.
class ImmediateExecutor final : public StepExecutor {
 public:
  ImmediateExecutor(const GroupShape& shape, const EngineConfig& config)
      : workers_(shape, config, 1) {}
  void Listen(GroupListener& listener) { listener_ = &listener; }
  void FallSilent() { silent_ = true; }  // before the group is up
  void Execute(StepPlan plan) override {
    if (!silent_) listener_->OnStepResult(workers_.Run(plan));
  }
  void PutImage(int64_t epoch, const ImageInput& image) override {
    workers_.PutImage(image);
    listener_->OnImageReady(epoch, image.hash);
  }
  void AbandonGroup(int64_t, const Status& why) override { ADD_FAILURE() << why; }

 private:
  FakeWorkers workers_;
  GroupListener* listener_ = nullptr;
  bool silent_ = false;
};

class ThreadTest : public testing::Test {
 protected:
  static EngineConfig Config() {
    EngineConfig config;
    config.max_model_len = 4096;
    config.eos_token_ids = {kFakeEos};
    return config;
  }
  ThreadTest() {
    executor_.Listen(engine_);
    thread_ = std::thread([this] { engine_.Run(); });
  }
  ~ThreadTest() override {
    engine_.Stop();
    thread_.join();
  }
  std::future<Ending> Submit(const Request& request) {
    std::promise<Ending> promise;
    std::future<Ending> future = promise.get_future();
    EXPECT_TRUE(engine_
                    .Submit(std::make_shared<const Request>(request),
                            std::make_unique<PromiseSink>(std::move(promise)))
                    .ok());
    return future;
  }

  const EngineConfig config_ = Config();
  const GroupShape shape_{
      .num_ranks = 1, .num_encoder_layers = 2, .num_blocks = 512, .encoder_cache_tokens = 64};
  ManualClock clock_;
  FakeTextFactory text_;
  ImmediateExecutor executor_{shape_, config_};
  const OpenGate gate_;
  Engine engine_{config_, EngineParts{executor_, text_, clock_, NoMetrics(), gate_}};
  std::thread thread_;
};

TEST_F(ThreadTest, AnswersComeToWhoeverAsksFromWhateverThread) {
  engine_.OnGroupUp(1, shape_);
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([this, client] {
      for (int i = 0; i < 10; ++i) {
        Request request =
            MakeRequest(std::to_string(client) + "-" + std::to_string(i), 30, 20, 100 * client + i);
        AddImage(request, 3, 9, static_cast<uint8_t>(i));
        const Ending ending = Submit(request).get();
        EXPECT_EQ(ending.status, OkStatus());
        EXPECT_EQ(ending.token_ids, ExpectedAnswer(request, 0, config_).token_ids);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  std::promise<EngineStats> stats;
  ASSERT_TRUE(engine_.GetStats([&](const EngineStats& now) { stats.set_value(now); }).ok());
  EXPECT_GT(stats.get_future().get().num_generated_tokens, 40);
}

// No message comes: the engine wakes by itself and looks at the clock.
TEST_F(ThreadTest, ADeadlineEndsARequestWhoseWorkersAreSilent) {
  executor_.FallSilent();
  engine_.OnGroupUp(1, shape_);
  Request request = MakeRequest("a", 8, 8);
  request.deadline = clock_.Now() + std::chrono::hours(1);
  std::future<Ending> ending = Submit(request);
  std::promise<EngineStats> stats;
  ASSERT_TRUE(engine_.GetStats([&](const EngineStats& now) { stats.set_value(now); }).ok());
  EXPECT_EQ(stats.get_future().get().num_generated_tokens, 0);
  clock_.Advance(std::chrono::hours(1));
  EXPECT_EQ(ending.get().status.code(), StatusCode::kDeadlineExceeded);
}

TEST_F(ThreadTest, StopRefusesWhatComesAndAnswersWhoWaitsForADrain) {
  std::future<Ending> early = Submit(MakeRequest("early", 5, 5));
  EXPECT_EQ(early.get().status.code(), StatusCode::kUnavailable);
  executor_.FallSilent();
  engine_.OnGroupUp(1, shape_);
  Submit(MakeRequest("open", 5, 5));
  std::promise<void> drained;
  ASSERT_TRUE(engine_.Drain([&] { drained.set_value(); }).ok());
  engine_.Stop();
  std::promise<Ending> promise;
  const Status status = engine_.Submit(std::make_shared<const Request>(MakeRequest("late", 5, 5)),
                                       std::make_unique<PromiseSink>(std::move(promise)));
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  drained.get_future().wait();
}

}  // namespace
}  // namespace longhand::engine
