// Workers that stop, hang or die, and what the cluster says of itself meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <thread>

#include "client/chaos/chaos.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using client::ChaosReport;
using client::RunChaos;

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kTwoRanks = {"--tp", "2", "--threads", "1"};

std::vector<std::string> With(std::vector<std::string> more) {
  more.insert(more.begin(), kTwoRanks.begin(), kTwoRanks.end());
  return more;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Answers to this request while `disturb` does what it does after the first event.
Answer AnswerWhile(LocalCluster& cluster,
                   const v1::GenerateRequest& request,
                   const std::function<void()>& disturb) {
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  Answer answer;
  for (v1::GenerateEvent event; reader->Read(&event);) {
    answer.token_ids.insert(answer.token_ids.end(), event.token_ids().begin(),
                            event.token_ids().end());
    answer.events.push_back(event);
    if (answer.events.size() == 1) disturb();
  }
  answer.status = reader->Finish();
  return answer;
}

TEST(Failover, AStoppedWorkerIsNoticedAndReplacedAlsoWhenNothingRuns) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  const Answer before = cluster.Generate(TextRequest("Same text?", 50));
  const pid_t stopped = cluster.worker_pids()[1];
  ASSERT_EQ(kill(stopped, SIGSTOP), 0);
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return !s.ready(); }));
  EXPECT_TRUE(WaitUntilGone(stopped));
  // The ready file follows.
  ASSERT_TRUE(cluster.WaitForStatus(
      [&](const auto& s) { return s.ready() && cluster.FindWorker(1) != stopped; }));
  EXPECT_THAT(cluster.log(), HasSubstr("worker rank 1 has not been heard for"));
  EXPECT_EQ(cluster.Generate(TextRequest("Same text?", 50)).token_ids, before.token_ids);
}

// Longer than a step and a heartbeat may take. The time in which it could not listen is nobody's
// fault: the group is the same afterwards. $LONGHAND_STOP_MS: for longer.
TEST(Failover, ACoordinatorThatWasStoppedGoesOnWithItsGroup) {
  LocalCluster cluster(TestCheckpointPath(),
                       With({"--step-timeout-ms", "2000", "--heartbeat-timeout-ms", "2000"}));
  v1::GenerateRequest request = TextRequest("Same text?", 600);
  request.mutable_sampling()->set_ignore_eos(true);
  const Answer undisturbed = cluster.Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  const size_t num_groups = Count(cluster.log(), "worker group: epoch");
  const char* stop_ms = std::getenv("LONGHAND_STOP_MS");
  const std::chrono::milliseconds stop(stop_ms == nullptr ? 4500 : std::atoi(stop_ms));
  std::vector<Answer> answers(3);
  {
    std::vector<std::jthread> clients;
    std::latch all_run(std::ssize(answers) + 1);
    for (Answer& answer : answers) {
      clients.emplace_back(
          [&] { answer = AnswerWhile(cluster, request, [&] { all_run.count_down(); }); });
    }
    all_run.arrive_and_wait();
    ASSERT_EQ(kill(cluster.coordinator_pid(), SIGSTOP), 0);
    std::this_thread::sleep_for(stop);
    ASSERT_EQ(kill(cluster.coordinator_pid(), SIGCONT), 0);
  }
  for (const Answer& answer : answers) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, undisturbed.token_ids);
  }
  EXPECT_EQ(Count(cluster.log(), "worker group: epoch"), num_groups) << cluster.log();
}

TEST(Failover, HealthIsThatTokensCanBeMade) {
  LocalCluster cluster(TestCheckpointPath(), With({"--heartbeat-timeout-ms", "3600000"}));
  const auto health = grpc::health::v1::Health::NewStub(cluster.channel());
  const auto serves = [&] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(health->Check(&context, grpc::health::v1::HealthCheckRequest(), &response).ok());
    return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  };
  EXPECT_TRUE(serves());  // Whoever has the ready file finds it so.
  // Too patient to replace it, it says all the same that no token would come; and when it would.
  ASSERT_EQ(kill(cluster.worker_pids()[0], SIGSTOP), 0);
  v1::GetStatusResponse stalled;
  ASSERT_TRUE(cluster.WaitForStatus([&](const auto& s) {
    stalled = s;
    return !s.ready() && !serves();
  }));
  EXPECT_EQ(stalled.phase(), "stalled");
  EXPECT_THAT(stalled.detail(), HasSubstr("worker rank 0 has not been heard for"));
  EXPECT_GT(stalled.ranks(0).heartbeat_age_ms(), 1000);
  ASSERT_EQ(kill(cluster.worker_pids()[0], SIGCONT), 0);
  EXPECT_TRUE(cluster.WaitForStatus([&](const auto& s) { return s.ready() && serves(); }));
}

TEST(Failover, LoadDoesNotEndReadiness) {
  LocalCluster cluster(TestCheckpointPath(), With({"--max-num-batched-tokens", "256"}));
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.ready(); }));
  std::atomic<int> num_running = 24;
  std::vector<std::thread> clients;
  for (int i = 0; i < num_running; ++i) {
    clients.emplace_back([&, i] {
      const v1::GenerateRequest request =
          TextRequest("Load " + std::to_string(i) + std::string(800, '.'), 60);
      EXPECT_TRUE(cluster.Generate(request).status.ok());
      --num_running;
    });
  }
  while (num_running > 0) {
    const v1::GetStatusResponse status = cluster.GetStatus();
    EXPECT_TRUE(status.ready()) << status.phase() << ": " << status.detail();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& client : clients) client.join();
}

// The spare holds what rank 0 needs: in rank 0's place it loads nothing.
TEST(Failover, ASpareTakesTheLostRanksPlaceAndTheLostOneBecomesTheSpare) {
  LocalCluster cluster(TestCheckpointPath(), With({"--spare-workers", "1"}));
  const auto spare_is_ready = [](const auto& s) {
    return s.ready() && s.spare_workers() == 1 && s.spare_workers_ready() == 1;
  };
  ASSERT_TRUE(cluster.WaitForStatus(spare_is_ready));
  const v1::GenerateRequest request = TextRequest("Same text?", 400);
  const Answer undisturbed = cluster.Generate(request);
  for (const size_t rank : {0, 1}) {
    const size_t num_loads = Count(cluster.log(), "loaded in");
    const pid_t lost = cluster.FindWorker(rank);
    const Answer answer = AnswerWhile(cluster, request, [&] { ASSERT_EQ(kill(lost, SIGKILL), 0); });
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, undisturbed.token_ids);
    EXPECT_THAT(cluster.log(), HasSubstr("takes the place of rank " + std::to_string(rank)));
    ASSERT_TRUE(cluster.WaitForStatus(spare_is_ready));
    // The next spare's, and of the one that was not prepared for rank 1.
    EXPECT_EQ(Count(cluster.log(), "loaded in"), num_loads + (rank == 0 ? 1 : 2));
  }
}

TEST(Failover, StreamsGoOnWhoeverStandsStill) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  const ChaosReport report = RunChaos({cluster.channel(), cluster.ready_file()},
                                      {.num_worker_stops = 4,
                                       .max_stop = std::chrono::milliseconds(2500),
                                       .max_tokens = 400,
                                       .seed = 20261127});
  std::printf("%s\n", report.ToJson().c_str());
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_EQ(report.num_worker_stops, 4);
}

// Without a supervisor nobody ends the worker that was given up: it wakes, and what it still has to
// say is of an epoch that is over.
TEST(Failover, AWokenZombieIsNotBelieved) {
  const testing::TempDirectory directory;
  std::vector<std::unique_ptr<RunningCommand>> workers;
  std::string addresses;
  for (const char* name : {"zero", "one"}) {
    const std::string address = "unix:" + (directory / name).string();
    workers.push_back(std::make_unique<RunningCommand>(
        std::vector<std::string>{"--listen", address}, LonghandPath() + "-worker"));
    addresses += (addresses.empty() ? "" : ",") + address;
  }
  RunningCommand coordinator(
      {"--model", TestCheckpointPath(), "--tp", "2", "--workers", addresses, "--http-address",
       "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
       "--journal", (directory / "journal").string()},
      LonghandPath() + "-coordinator");
  ASSERT_TRUE(coordinator.WaitForOutput("{\"ready\":true"));
  const std::string told = coordinator.Output();
  const std::string key = "\"grpc\":\"";
  const size_t at = told.find(key) + key.size();
  const auto channel = grpc::CreateChannel(told.substr(at, told.find('"', at) - at),
                                           grpc::InsecureChannelCredentials());
  const auto generation = v1::Generation::NewStub(channel);
  const auto cluster = v1::Cluster::NewStub(channel);
  const auto epoch = [&] {
    grpc::ClientContext context;
    v1::GetStatusResponse status;
    EXPECT_TRUE(cluster->GetStatus(&context, v1::GetStatusRequest(), &status).ok());
    return status.ready() ? status.epoch() : -status.epoch();
  };
  std::vector<std::vector<int32_t>> texts;
  for (const bool is_disturbed : {false, true}) {
    grpc::ClientContext context;
    const auto reader = generation->Generate(&context, TextRequest("Same text?", 600));
    texts.emplace_back();
    for (v1::GenerateEvent event; reader->Read(&event);) {
      texts.back().insert(texts.back().end(), event.token_ids().begin(), event.token_ids().end());
      if (!is_disturbed || event.seq() != 1) continue;
      const int64_t before = epoch();
      workers[1]->Signal(SIGSTOP);
      while (epoch() >= -before) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      workers[1]->Signal(SIGCONT);
    }
    EXPECT_TRUE(reader->Finish().ok());
  }
  EXPECT_EQ(texts[0], texts[1]);
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait().exit_code, 0);
  for (const auto& worker : workers) {
    worker->Signal(SIGTERM);
    EXPECT_EQ(worker->Wait().exit_code, 0);
  }
}

}  // namespace
}  // namespace longhand::e2e
