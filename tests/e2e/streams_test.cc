// Streams that outlive calls and the coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "client/chaos/chaos.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using client::Comparable;

using client::ChaosReport;
using client::RunChaos;

using ::testing::HasSubstr;

const std::vector<std::string> kTwoRanks = {"--tp", "2", "--threads", "1"};

std::vector<std::string> WithJournal(const std::string& directory,
                                     std::vector<std::string> more = {}) {
  std::vector<std::string> flags = kTwoRanks;
  flags.insert(flags.end(), {"--journal", directory});
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

v1::GenerateRequest NamedRequest(const std::string& id, int64_t max_tokens) {
  v1::GenerateRequest request = TextRequest("Same text?", max_tokens);
  request.set_request_id(id);
  return request;
}

// The events from number `from` on.
std::vector<std::string> EventsFrom(const Answer& answer, size_t from = 1) {
  std::vector<std::string> events;
  for (size_t i = from - 1; i < answer.events.size(); ++i)
    events.push_back(Comparable(answer.events[i]));
  return events;
}

// Reads the first `num_events` of a stream, and leaves.
void ReadSome(LocalCluster& cluster, const v1::GenerateRequest& request, int num_events) {
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  v1::GenerateEvent event;
  for (int i = 0; i < num_events; ++i) ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  (void)reader->Finish();
}

TEST(Streams, AttachShowsAnAnswerFromAnyOfItsEvents) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  const Answer answer = cluster.Generate(NamedRequest("whole", 60));
  ASSERT_EQ(answer.events.size(), 60u);
  for (const int64_t from : {0, 1, 2, 31, 60, 61}) {
    const Answer attached = cluster.Attach("whole", from);
    EXPECT_TRUE(attached.status.ok()) << attached.status.error_message();
    EXPECT_EQ(EventsFrom(attached),
              EventsFrom(answer, static_cast<size_t>(std::max<int64_t>(from, 1))));
  }
  const Answer beyond = cluster.Attach("whole", 62);
  EXPECT_EQ(beyond.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(beyond.status.error_message(),
            "from is 62; the stream has 60 events, so it must be from 1 to 61");
  EXPECT_EQ(cluster.Attach("unknown", 1).status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(Streams, TheSameRequestAgainIsNoNewOneAndAnotherIsRefused) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  v1::GenerateRequest request = NamedRequest("mine", 400);
  request.mutable_sampling()->set_temperature(2);  // and no seed: two requests would differ
  Answer first;
  std::thread client([&] { first = cluster.Generate(request); });
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 1; }));
  const Answer beside = cluster.Generate(request);
  client.join();
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_EQ(EventsFrom(beside), EventsFrom(first));
  EXPECT_EQ(EventsFrom(cluster.Generate(request)), EventsFrom(first));
  request.mutable_sampling()->set_temperature(1);
  const Answer other = cluster.Generate(request);
  EXPECT_EQ(other.status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_THAT(other.status.error_message(), HasSubstr("another request has the id 'mine'"));
}

TEST(Streams, WhatBecomesOfAnAnswerWithoutAReaderIsForTheRequestToSay) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  v1::GenerateRequest request = NamedRequest("undisturbed", 500);
  const Answer undisturbed = cluster.Generate(request);
  request.set_request_id("continues");
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  ReadSome(cluster, request, 3);
  EXPECT_EQ(EventsFrom(cluster.Attach("continues", 1)), EventsFrom(undisturbed));
  request = NamedRequest("cancelled", 100000);
  request.set_on_disconnect(v1::ON_DISCONNECT_CANCEL);
  ReadSome(cluster, request, 3);
  // Whoever attaches before the server hears of it would keep the answer going.
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 0; }));
  const Answer cancelled = cluster.Attach("cancelled", 1);
  EXPECT_EQ(cancelled.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_GE(cancelled.events.size(), 3u);
  EXPECT_LT(cancelled.events.size(), 100000u);
}

// Victims and moments differ from seed to seed; workers keep their weights when the coordinator
// dies.
TEST(Streams, NoTokenIsLostDoubledOrChangedWhoeverIsKilled) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  const ChaosReport report =
      RunChaos({cluster.channel(), cluster.ready_file()},
               {.num_coordinator_kills = 6, .max_tokens = 400, .seed = 20261126});
  std::printf("%s\n", report.ToJson().c_str());
  EXPECT_THAT(report.faults, ::testing::IsEmpty());
  EXPECT_GE(report.num_coordinator_kills, 5);
  const std::string log = cluster.log();
  size_t num_loads = 0;
  for (size_t at = log.find("loaded in"); at != std::string::npos;
       at = log.find("loaded in", at + 1))
    ++num_loads;
  EXPECT_EQ(num_loads, 2u);
  const ChaosReport both =
      RunChaos({cluster.channel(), cluster.ready_file()},
               {.num_worker_kills = 3, .num_coordinator_kills = 3, .max_tokens = 400, .seed = 7});
  std::printf("%s\n", both.ToJson().c_str());
  EXPECT_THAT(both.faults, ::testing::IsEmpty());
}

TEST(Streams, WithoutAJournalAStreamEndsWithItsCoordinator) {
  std::vector<std::string> flags = kTwoRanks;
  flags.insert(flags.end(), {"--journal", "none"});
  LocalCluster cluster(TestCheckpointPath(), flags);
  v1::GenerateRequest request = NamedRequest("mortal", 2000);
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  ReadSome(cluster, request, 3);
  std::thread killer([&] { ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0); });
  EXPECT_EQ(cluster.Attach("mortal", 1).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  killer.join();
  cluster.GetStatus();  // It is back.
  EXPECT_EQ(cluster.Attach("mortal", 1).status.error_code(), grpc::StatusCode::NOT_FOUND);
}

// What a drain does not finish goes on with the next cluster that has the journal.
TEST(Streams, ADrainLeavesWhatItCannotFinishToTheNextCoordinator) {
  const testing::TempDirectory directory;
  const std::string journal = (directory / "journal").string();
  const v1::GenerateRequest request = NamedRequest("drained", 5000);
  Answer beginning;
  {
    LocalCluster cluster(TestCheckpointPath(), WithJournal(journal, {"--shutdown-timeout", "1"}));
    std::thread client([&] { beginning = cluster.Generate(request); });
    ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 1; }));
    EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
    client.join();
  }
  EXPECT_EQ(beginning.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << beginning.status.error_message();
  EXPECT_THAT(beginning.status.error_message(), HasSubstr("attach to the stream again"));
  LocalCluster next(TestCheckpointPath(), WithJournal(journal));
  Answer undisturbed;
  std::thread client([&] {
    v1::GenerateRequest again = request;
    again.set_request_id("undisturbed");
    undisturbed = next.Generate(again);
  });
  const Answer rest = next.Attach("drained", static_cast<int64_t>(beginning.events.size()) + 1);
  client.join();
  EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
  ASSERT_LT(beginning.events.size(), undisturbed.events.size());
  std::vector<std::string> events = EventsFrom(beginning);
  for (const std::string& event : EventsFrom(rest)) events.push_back(event);
  EXPECT_EQ(events, EventsFrom(undisturbed));
  EXPECT_EQ(EventsFrom(next.Attach("undisturbed", 1)), EventsFrom(undisturbed));
}

// Weights of another name would go on with another text.
TEST(Streams, AnotherModelDoesNotGoOnWithARequest) {
  const testing::TempDirectory directory;
  const std::string journal = (directory / "journal").string();
  v1::GenerateRequest request = NamedRequest("other", 100000);
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  {
    LocalCluster cluster(TestCheckpointPath(), WithJournal(journal, {"--shutdown-timeout", "0"}));
    ReadSome(cluster, request, 3);
  }
  LocalCluster next(TestCheckpointPath(), WithJournal(journal, {"--served-model-name", "larger"}));
  const Answer answer = next.Attach("other", 1);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("'nano' is not served here; 'larger' is"));
  EXPECT_GE(answer.events.size(), 3u);
}

TEST(Streams, TwoCoordinatorsDoNotShareAJournal) {
  const testing::TempDirectory directory;
  LocalCluster cluster(TestCheckpointPath(), WithJournal(directory.path().string()));
  const CommandResult second =
      RunLonghand({"serve", "--model", TestCheckpointPath(), "--journal", directory.path().string(),
                   "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0",
                   "--metrics-address", "127.0.0.1:0"});
  EXPECT_NE(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("is the journal of another coordinator"));
}

TEST(Streams, TheCommandLineHealsALostServer) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  const std::vector<std::string> arguments = {
      "generate", "--endpoint", cluster.grpc_address(), "--prompt",     "Same text?",
      "--seed",   "5",          "--ignore-eos",         "--max-tokens", "1500"};
  const CommandResult undisturbed = RunLonghand(arguments);
  std::vector<std::string> named = arguments;
  named.insert(named.end(), {"--request-id", "healed"});
  RunningCommand command(named);
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 1; }));
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  const CommandResult healed = command.Wait();
  EXPECT_EQ(healed.exit_code, 0) << healed.err;
  EXPECT_EQ(healed.out, undisturbed.out);
  const CommandResult attached =
      RunLonghand({"attach", "healed", "--endpoint", cluster.grpc_address()});
  EXPECT_EQ(attached.exit_code, 0) << attached.err;
  EXPECT_EQ(attached.out, undisturbed.out);
}

TEST(Streams, CtrlCEndsTheRequestOnTheServerToo) {
  LocalCluster cluster(TestCheckpointPath(), kTwoRanks);
  RunningCommand command({"generate", "--endpoint", cluster.grpc_address(), "--prompt", "Endless.",
                          "--request-id", "ended", "--ignore-eos", "--max-tokens", "100000"});
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 1; }));
  command.Signal(SIGINT);
  EXPECT_EQ(command.Wait().exit_code, 128 + SIGINT);
  EXPECT_EQ(cluster.Attach("ended", 1).status.error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace longhand::e2e
