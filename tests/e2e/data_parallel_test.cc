// Several worker groups under one coordinator: what one loses goes on, and the others with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "client/chaos/chaos.h"
#include "client/generate/resumable_stream.h"
#include "proto/grpc_status.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using client::ChaosReport;
using client::RunChaos;

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kTwoGroups = {"--tp", "2",         "--data-parallel-size",
                                             "2",    "--threads", "1"};

v1::GenerateRequest Story(int number, int64_t max_tokens) {
  return TextRequest("Story " + std::to_string(number), max_tokens);
}

// Streams of stories that run at once, called `name`-0 and so on; a client that goes on after lost
// connections reads each.
class Stories {
 public:
  Stories(const std::string& name,
          const std::shared_ptr<grpc::Channel>& channel,
          int count,
          int64_t max_tokens)
      : answers_(static_cast<size_t>(count)) {
    for (int i = 0; i < count; ++i) {
      v1::GenerateRequest request = Story(i, max_tokens);
      request.set_request_id(name + "-" + std::to_string(i));
      request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
      readers_.emplace_back([this, channel, i, request] {
        Answer& answer = answers_[static_cast<size_t>(i)];
        auto stream = client::ResumableStream::Generate(channel, request, kPatience);
        for (v1::GenerateEvent event; stream.Read(&event);) {
          answer.text += event.text();
          answer.token_ids.insert(answer.token_ids.end(), event.token_ids().begin(),
                                  event.token_ids().end());
          ++num_events_;
        }
        answer.status = ToGrpc(stream.status());
      });
    }
  }
  void WaitForEvents(int64_t count) const {
    while (num_events_ < count) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::vector<Answer> Finish() {
    readers_.clear();
    return std::move(answers_);
  }

 private:
  std::vector<Answer> answers_;
  std::atomic<int64_t> num_events_ = 0;
  std::vector<std::jthread> readers_;
};

void ExpectSame(const std::vector<Answer>& answers, const std::vector<Answer>& expected) {
  ASSERT_EQ(answers.size(), expected.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_TRUE(answers[i].status.ok()) << i << ": " << answers[i].status.error_message();
    EXPECT_EQ(answers[i].token_ids, expected[i].token_ids) << i;
    EXPECT_EQ(answers[i].text, expected[i].text) << i;
  }
}

constexpr int kStories = 8;
constexpr int64_t kStoryTokens = 500;

// Each alone, by the only group.
const std::vector<Answer>& Undisturbed() {
  static const std::vector<Answer> answers = [] {
    LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1"});
    std::vector<Answer> made;
    for (int i = 0; i < kStories; ++i) made.push_back(cluster.Generate(Story(i, kStoryTokens)));
    return made;
  }();
  return answers;
}

bool BothRun(const v1::GetStatusResponse& status) {
  return status.groups(0).running_requests() > 0 && status.groups(1).running_requests() > 0;
}

bool AllAreUp(const v1::GetStatusResponse& status) {
  return std::all_of(status.groups().begin(), status.groups().end(),
                     [](const auto& group) { return group.ready(); });
}

TEST(DataParallel, AKilledWorkerIsItsOwnGroupsMatter) {
  const std::vector<Answer>& expected = Undisturbed();
  LocalCluster cluster(TestCheckpointPath(), kTwoGroups);
  ASSERT_EQ(cluster.worker_pids().size(), 4u);
  ASSERT_EQ(cluster.metrics_addresses().size(), 5u);
  v1::GetStatusResponse before = cluster.GetStatus();
  ASSERT_EQ(before.ranks_size(), 4);
  EXPECT_EQ(before.ranks(3).group(), 1);
  EXPECT_EQ(before.ranks(3).rank(), 1);
  {
    Stories stories("story", cluster.channel(), kStories, kStoryTokens);
    ASSERT_TRUE(cluster.WaitForStatus(BothRun));
    const int64_t made_by_other = cluster.GetStatus().groups(0).generated_tokens();
    ASSERT_EQ(kill(cluster.FindWorker(2), SIGKILL), 0);
    ASSERT_TRUE(cluster.WaitForStatus([&](const auto& s) {
      EXPECT_TRUE(s.ready()) << s.phase() << ": " << s.detail();
      return s.groups(1).epoch() > before.groups(1).epoch() && AllAreUp(s);
    }));
    EXPECT_EQ(cluster.GetStatus().groups(0).epoch(), before.groups(0).epoch());
    EXPECT_GT(cluster.GetStatus().groups(0).generated_tokens(), made_by_other);
    ExpectSame(stories.Finish(), expected);
  }
  EXPECT_THAT(RunLonghand({"status", "--endpoint", cluster.grpc_address()}).out,
              HasSubstr("group 1: ready"));
}

TEST(DataParallel, ACoordinatorThatComesBackTakesUpTheStreamsOfAllGroups) {
  const std::vector<Answer>& expected = Undisturbed();
  LocalCluster cluster(TestCheckpointPath(), kTwoGroups);
  Stories stories("story", cluster.channel(), kStories, kStoryTokens);
  stories.WaitForEvents(kStories * 20);
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  ExpectSame(stories.Finish(), expected);
  EXPECT_TRUE(cluster.WaitForStatus(AllAreUp));
}

TEST(DataParallel, CancelFindsTheGroupAndDrainWaitsForAll) {
  LocalCluster cluster(TestCheckpointPath(), kTwoGroups);
  {
    Stories endless("endless", cluster.channel(), 4, 100'000);
    ASSERT_TRUE(cluster.WaitForStatus(BothRun));
    for (int i = 0; i < 4; ++i) {
      v1::CancelRequest cancel;
      cancel.set_request_id("endless-" + std::to_string(i));
      v1::CancelResponse ignored;
      grpc::ClientContext context;
      EXPECT_TRUE(cluster.generation().Cancel(&context, cancel, &ignored).ok()) << i;
    }
    for (const Answer& answer : endless.Finish())
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::CANCELLED);
  }
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) {
    return s.running_requests() == 0 && s.kv_blocks_free() == s.kv_blocks_total();
  }));
  std::vector<std::jthread> readers;
  std::atomic<int> num_whole = 0;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&, i] {
      const Answer answer = cluster.Generate(TextRequest("Story " + std::to_string(i), 300));
      EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
      num_whole += answer.token_ids.size() == 300 ? 1 : 0;
    });
  }
  ASSERT_TRUE(
      cluster.WaitForStatus([](const auto& s) { return BothRun(s) && s.running_requests() == 4; }));
  EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
  readers.clear();
  EXPECT_EQ(num_whole, 4);
}

TEST(DataParallel, EachGroupHasItsSpares) {
  LocalCluster cluster(TestCheckpointPath(),
                       {"--data-parallel-size", "2", "--spare-workers", "1", "--threads", "1"});
  ASSERT_EQ(cluster.worker_pids().size(), 2u);
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.spare_workers_ready() == 2; }));
  const Answer expected = cluster.Generate(TextRequest("Same text?", 50));
  const pid_t lost = cluster.FindWorker(1);
  // A spare is there sooner than anybody sees that a group is not.
  const int64_t epoch = cluster.GetStatus().epoch();
  ASSERT_EQ(kill(lost, SIGKILL), 0);
  ASSERT_TRUE(cluster.WaitForStatus([&](const auto& s) {
    return s.epoch() > epoch && AllAreUp(s) && s.spare_workers_ready() == 2 &&
           cluster.FindWorker(1) != lost;  // The ready file follows.
  }));
  EXPECT_THAT(cluster.log(), HasSubstr("takes the place of rank 0"));
  EXPECT_EQ(cluster.Generate(TextRequest("Same text?", 50)).token_ids, expected.token_ids);
}

// A worker on a host of its own, which nobody starts again but the test.
class WorkerAlone {
 public:
  explicit WorkerAlone(std::string address) : address_(std::move(address)) { Start(); }
  ~WorkerAlone() { End(SIGTERM); }
  void Start() {
    process_ = std::make_unique<RunningCommand>(
        std::vector<std::string>{"--listen", address_, "--threads", "1"},
        LonghandPath() + "-worker");
  }
  void End(int signal_number) {
    if (process_ == nullptr) return;
    process_->Signal(signal_number);
    (void)process_->Wait();
    process_ = nullptr;
  }

 private:
  const std::string address_;
  std::unique_ptr<RunningCommand> process_;
};

TEST(DataParallel, WhileAGroupIsGoneItsStreamsGoOnWithTheOthers) {
  constexpr int kCount = 6;
  constexpr int64_t kMaxTokens = 1200;
  const testing::TempDirectory directory;
  const std::string first = "unix:" + (directory / "zero").string();
  const std::string second = "unix:" + (directory / "one").string();
  WorkerAlone worker(first);
  WorkerAlone victim(second);
  RunningCommand coordinator(
      {"--model", TestCheckpointPath(), "--dp", "2", "--workers", first + "," + second,
       "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address",
       "127.0.0.1:0", "--journal", (directory / "journal").string()},
      LonghandPath() + "-coordinator");
  ASSERT_TRUE(coordinator.WaitForOutput("{\"ready\":true"));
  const std::string told = coordinator.Output();
  const std::string key = "\"grpc\":\"";
  const size_t at = told.find(key) + key.size();
  const auto channel = grpc::CreateChannel(told.substr(at, told.find('"', at) - at),
                                           grpc::InsecureChannelCredentials());
  const auto cluster = v1::Cluster::NewStub(channel);
  const auto wait_for = [&](const std::function<bool(const v1::GetStatusResponse&)>& done) {
    v1::GetStatusResponse status;
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      grpc::ClientContext context;
      ASSERT_TRUE(cluster->GetStatus(&context, v1::GetStatusRequest(), &status).ok());
    } while (!done(status));
  };
  const std::vector<Answer> expected = Stories("whole", channel, kCount, kMaxTokens).Finish();
  Stories stories("disturbed", channel, kCount, kMaxTokens);
  wait_for(BothRun);
  victim.End(SIGKILL);
  // It has two seconds to come back; meanwhile, and then, the cell is ready.
  wait_for([](const auto& s) { return !s.groups(1).ready(); });
  wait_for([](const auto& s) {
    EXPECT_TRUE(s.ready()) << s.phase() << ": " << s.detail();
    EXPECT_THAT(s.detail(), HasSubstr("group 1 connecting"));
    return s.groups(1).running_requests() + s.groups(1).waiting_requests() == 0;
  });
  const std::vector<Answer> newcomer = Stories("new", channel, 1, 50).Finish();
  EXPECT_TRUE(newcomer[0].status.ok()) << newcomer[0].status.error_message();
  EXPECT_EQ(newcomer[0].token_ids.size(), 50u);
  ExpectSame(stories.Finish(), expected);
  victim.Start();
  wait_for(AllAreUp);
  Stories again("again", channel, kCount, kMaxTokens);
  wait_for(BothRun);
  ExpectSame(again.Finish(), expected);
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait().exit_code, 0);
}

TEST(DataParallel, StreamsGoOnWhoeverIsKilled) {
  LocalCluster cluster(TestCheckpointPath(), kTwoGroups);
  const ChaosReport report = RunChaos(
      {cluster.channel(), cluster.ready_file()},
      {.num_worker_kills = 6, .num_coordinator_kills = 3, .max_tokens = 300, .seed = 20261127});
  std::printf("%s\n", report.ToJson().c_str());
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_GE(report.num_worker_kills, 5);
  EXPECT_GE(report.num_coordinator_kills, 3);
}

}  // namespace
}  // namespace longhand::e2e
