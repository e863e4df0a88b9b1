// The router over engines on threads of their own, while groups come and go and clients leave.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "coordinator/engine/router.h"
#include "tests/unit/coordinator/engine/expected_answer.h"
#include "tests/unit/coordinator/engine/fake_text.h"
#include "tests/unit/coordinator/engine/fake_workers.h"
#include "tests/unit/coordinator/engine/promise_sink.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

// An engine's patience with a lost group is seconds; a test has milliseconds.
class FastClock final : public Clock {
 public:
  TimePoint Now() const override {
    return TimePoint(std::chrono::steady_clock::now().time_since_epoch() * 1000);
  }
};

EngineConfig Config() {
  EngineConfig config;
  config.max_model_len = 4096;
  config.max_waiting_seqs = 100'000;
  config.max_waiting_seqs_per_tenant = 100'000;
  config.eos_token_ids = {kFakeEos};
  return config;
}

constexpr GroupShape kShape{
    .num_ranks = 1, .num_encoder_layers = 2, .num_blocks = 512, .encoder_cache_tokens = 64};

// Runs each plan at once, with new workers in each epoch.
class Group final : public StepExecutor {
 public:
  explicit Group(Router& router) { router.Join(engine_); }
  ~Group() override { Stop(); }
  void Start() {
    thread_ = std::thread([this] { engine_.Run(); });
  }
  void Stop() {
    engine_.Stop();
    if (thread_.joinable()) thread_.join();
  }
  void Form() { engine_.OnGroupUp(++epoch_, kShape); }
  void Lose() { engine_.OnGroupDown(epoch_, Unavailable("lost")); }

  void Execute(StepPlan plan) override {
    if (std::exchange(workers_epoch_, plan.epoch) != plan.epoch)
      workers_ = std::make_unique<FakeWorkers>(kShape, Config(), plan.epoch);
    engine_.OnStepResult(workers_->Run(plan));
  }
  void PutImage(int64_t, const ImageInput&) override {}
  void AbandonGroup(int64_t, const Status& why) override { ADD_FAILURE() << why; }

 private:
  FastClock clock_;
  FakeTextFactory text_;
  const OpenGate gate_;
  std::unique_ptr<FakeWorkers> workers_;
  int64_t workers_epoch_ = 0;  // epochs count from 1
  int64_t epoch_ = 0;          // of whoever forms and loses
  Engine engine_{Config(), EngineParts{*this, text_, clock_, NoMetrics(), gate_}};
  std::thread thread_;
};

TEST(RouterOnThreads, WhateverComesAndGoesEachAnswerIsItsRequests) {
  Router router;
  Group first(router), second(router);
  for (Group* group : {&first, &second}) {
    group->Start();
    group->Form();
  }
  std::atomic<bool> stopping = false;
  std::thread weather([&] {
    std::mt19937 random(7);
    while (!stopping) {
      Group& group = random() % 2 == 0 ? first : second;
      std::this_thread::sleep_for(std::chrono::milliseconds(2 + random() % 5));
      group.Lose();
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 6));
      group.Form();
    }
  });
  std::vector<std::thread> clients;
  std::atomic<int> num_whole = 0;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<uint32_t>(client));
      for (int i = 0; i < 100; ++i) {
        Request request = MakeRequest(std::to_string(client) + "-" + std::to_string(i),
                                      1 + static_cast<int64_t>(random() % 40), 40, random());
        request.call = i;
        std::promise<Ending> promise;
        std::future<Ending> future = promise.get_future();
        ASSERT_TRUE(router.Submit(request, std::make_unique<PromiseSink>(std::move(promise))).ok());
        const bool leaves = random() % 8 == 0;
        if (leaves) (void)router.CancelCall(request.request_id, i);
        const Ending ending = future.get();
        // What runs whenever its group is lost may be blamed.
        if (!ending.status.ok()) {
          const StatusCode code = ending.status.code();
          EXPECT_TRUE(code == StatusCode::kInternal || code == StatusCode::kUnavailable ||
                      (leaves && code == StatusCode::kCancelled))
              << ending.status;
          continue;
        }
        ++num_whole;
        EXPECT_EQ(ending.token_ids, ExpectedAnswer(request, 0, Config()).token_ids);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  stopping = true;
  weather.join();
  EXPECT_GT(num_whole, 100);
  std::promise<void> idle;
  router.Drain([&] { idle.set_value(); });
  idle.get_future().wait();
  router.Stop();
  for (Group* group : {&first, &second}) group->Stop();
}

}  // namespace
}  // namespace longhand::engine
