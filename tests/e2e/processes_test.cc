// Processes that die, clients that leave, signals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <sstream>
#include <thread>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

bool IsIdle(const v1::GetStatusResponse& status) {
  return status.state() == v1::GROUP_STATE_READY && status.running_requests() == 0 &&
         status.waiting_requests() == 0 && status.kv_blocks_free() == status.kv_blocks_total();
}

TEST(Processes, AClientThatLeavesGivesItsBlocksBack) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  grpc::ClientContext context;
  const auto reader =
      cluster.generation().Generate(&context, TextRequest("Write without end.", 100000));
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(cluster.GetStatus().running_requests(), 1);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(cluster.WaitForStatus(IsIdle));
}

TEST(Processes, CancelEndsTheStreamOfARequest) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  v1::GenerateRequest request = TextRequest("Write without end.", 100000);
  request.set_request_id("endless");
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  v1::CancelRequest cancel;
  cancel.set_request_id("endless");
  v1::CancelResponse ignored;
  grpc::ClientContext cancel_context;
  EXPECT_TRUE(cluster.generation().Cancel(&cancel_context, cancel, &ignored).ok());
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  grpc::ClientContext again_context;
  EXPECT_EQ(cluster.generation().Cancel(&again_context, cancel, &ignored).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(cluster.WaitForStatus(IsIdle));
}

TEST(Processes, ADeadlineIsKept) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const auto reader =
      cluster.generation().Generate(&context, TextRequest("Write without end.", 100000));
  for (v1::GenerateEvent event; reader->Read(&event);) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(cluster.WaitForStatus(IsIdle));
}

// The stream of a request, from its first event to its end; `disturb` runs after the first event.
Answer GenerateDisturbed(LocalCluster& cluster,
                         const v1::GenerateRequest& request,
                         const std::function<void()>& disturb) {
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  Answer answer;
  int64_t num_events = 0;
  for (v1::GenerateEvent event; reader->Read(&event);) {
    EXPECT_EQ(event.seq(), ++num_events);
    answer.text += event.text();
    answer.token_ids.insert(answer.token_ids.end(), event.token_ids().begin(),
                            event.token_ids().end());
    if (num_events == 1) disturb();
  }
  answer.status = reader->Finish();
  return answer;
}

// Every rank once: nothing is lost, doubled or changed, and the group comes back.
TEST(Processes, StreamsGoOnWhenAWorkerIsKilled) {
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1"});
  const v1::GenerateRequest request = TextRequest("Same text?", 1000);
  const Answer undisturbed = cluster.Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  for (const size_t rank : {size_t{0}, size_t{1}}) {
    const int64_t epoch = cluster.GetStatus().epoch();
    const Answer disturbed = GenerateDisturbed(
        cluster, request, [&] { ASSERT_EQ(kill(cluster.FindWorker(rank), SIGKILL), 0); });
    ASSERT_TRUE(disturbed.status.ok()) << disturbed.status.error_message();
    EXPECT_EQ(disturbed.token_ids, undisturbed.token_ids);
    EXPECT_EQ(disturbed.text, undisturbed.text);
    EXPECT_TRUE(cluster.WaitForStatus(
        [&](const v1::GetStatusResponse& s) { return s.epoch() > epoch && IsIdle(s); }));
  }
}

TEST(Processes, AWorkerThatHangsIsReplacedAndStreamsGoOn) {
  LocalCluster cluster(TestCheckpointPath(),
                       {"--tp", "2", "--threads", "1", "--step-timeout-ms", "2000"});
  const v1::GenerateRequest request = TextRequest("Same text?", 1000);
  const Answer undisturbed = cluster.Generate(request);
  const pid_t hung = cluster.worker_pids()[1];
  const Answer disturbed =
      GenerateDisturbed(cluster, request, [&] { ASSERT_EQ(kill(hung, SIGSTOP), 0); });
  ASSERT_TRUE(disturbed.status.ok()) << disturbed.status.error_message();
  EXPECT_EQ(disturbed.token_ids, undisturbed.token_ids);
  EXPECT_TRUE(WaitUntilGone(hung));
  EXPECT_TRUE(cluster.WaitForStatus(IsIdle));
}

TEST(Processes, AHungWorkerDoesNotHoldUpTheEnd) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1", "--shutdown-timeout", "3600"});
  ASSERT_EQ(kill(cluster.worker_pids()[0], SIGSTOP), 0);
  EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
}

// Nobody holds it while the worker is dead.
TEST(Processes, AWorkerWhoseMetricsPortIsTakenMeanwhileGetsAnother) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  const std::string before = cluster.metrics_addresses()[1];
  const pid_t worker = cluster.worker_pids()[0];
  ASSERT_EQ(kill(cluster.serve_pid(), SIGSTOP), 0);
  ASSERT_EQ(kill(worker, SIGKILL), 0);
  const int taker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{
      .sin_family = AF_INET,
      .sin_port = htons(static_cast<uint16_t>(std::stoi(before.substr(before.rfind(':') + 1)))),
      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  while (bind(taker, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    ASSERT_EQ(errno, EADDRINUSE);  // It is still dying.
  ASSERT_EQ(listen(taker, 1), 0);
  ASSERT_EQ(kill(cluster.serve_pid(), SIGCONT), 0);
  ASSERT_TRUE(cluster.WaitForStatus([&](const v1::GetStatusResponse& s) {
    return s.epoch() > 1 && IsIdle(s) && cluster.FindWorker(0) != worker;
  }));
  EXPECT_NE(cluster.metrics_addresses()[1], before);
  close(taker);
}

// gRPC's own words too are lines of the log's format.
TEST(Processes, AWorkerWhosePortIsTakenSaysSo) {
  const int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(taken, 1), 0);
  ASSERT_EQ(getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string where = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const std::filesystem::path programs = std::filesystem::path(LonghandPath()).parent_path();
  const CommandResult result = RunningCommand({"--listen", where, "--metrics-address",
                                               "127.0.0.1:0", "--log-format", "json"},
                                              programs / "longhand-worker")
                                   .Wait();
  close(taken);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot listen on " + where));
  EXPECT_THAT(result.err, HasSubstr("Address already in use"));
  std::istringstream lines(result.err);
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(boost::json::parse(line).is_object()) << line;
}

TEST(Processes, AKilledCoordinatorComesBackAtTheSameAddress) {
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1"});
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  ASSERT_TRUE(cluster.WaitForStatus(IsIdle));
  const Answer answer = cluster.Generate(TextRequest("Hello again", 8));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

TEST(Processes, SigtermLetsARunningRequestFinish) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, TextRequest("A little more.", 300));
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  int exit_code = -1;
  std::thread stopper([&] { exit_code = cluster.StopWith(SIGTERM); });
  int tokens = event.token_ids_size();
  while (reader->Read(&event)) tokens += event.token_ids_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 300);
  stopper.join();
  EXPECT_EQ(exit_code, 0);
}

TEST(Processes, AClosedTerminalEndsItAsSigtermDoes) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  const pid_t coordinator = cluster.coordinator_pid();
  EXPECT_EQ(cluster.StopWith(SIGHUP), 0);
  EXPECT_FALSE(std::filesystem::exists(cluster.ready_file()));
  EXPECT_TRUE(WaitUntilGone(coordinator));
}

TEST(Processes, WhoeverReadItsMessagesMayGo) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  ASSERT_EQ(kill(cluster.serve_pid(), SIGPIPE), 0);
  EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
}

TEST(Processes, WorkersAndCoordinatorDieWithTheirSupervisor) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  const pid_t coordinator = cluster.coordinator_pid();
  EXPECT_EQ(cluster.StopWith(SIGKILL), 128 + SIGKILL);
  EXPECT_TRUE(WaitUntilGone(coordinator));
  EXPECT_TRUE(WaitUntilGone(cluster.worker_pids()[0]));
}

}  // namespace
}  // namespace longhand::e2e
