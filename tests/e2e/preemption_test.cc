// A KV cache that is too small for all that runs: the same text as alone.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <thread>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

constexpr int kNumStreams = 8;
constexpr int64_t kMaxModelLen = 512;
constexpr int64_t kMaxTokens = 180;

std::vector<std::string> ClusterFlags() {
  return {"--tp",
          "2",
          "--threads",
          "1",
          "--max-model-len",
          std::to_string(kMaxModelLen),
          "--max-num-seqs",
          std::to_string(kNumStreams)};
}

// Of a rank.
int64_t KvBytesPerToken() {
  std::vector<std::string> args = {"serve", "--model", TestCheckpointPath(), "--dry-run", "--json"};
  const std::vector<std::string> flags = ClusterFlags();
  args.insert(args.end(), flags.begin(), flags.end());
  const CommandResult result = RunLonghand(args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const boost::json::value plan = boost::json::parse(result.out);
  return plan.at("ranks").at(0).at("kv_bytes_per_token").to_number<int64_t>();
}

// As long as it may be, though the server cannot know.
v1::GenerateRequest StoryRequest(int number) {
  v1::GenerateRequest request = TextRequest("Story " + std::to_string(number), kMaxTokens);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(static_cast<uint64_t>(number));
  request.mutable_sampling()->set_ignore_eos(true);
  request.mutable_sampling()->add_stop("no such text");
  for (int32_t id = number; id < 900; id += 9)
    (*request.mutable_sampling()->mutable_logit_bias())[id] = 2;
  return request;
}

TEST(Preemption, TheTextIsTheSameAloneTogetherAndPreempted) {
  std::vector<std::string> flags = ClusterFlags();
  // Two whole contexts, for eight streams.
  flags.push_back("--kv-cache-memory-bytes=" +
                  std::to_string(2 * kMaxModelLen * KvBytesPerToken()));
  LocalCluster cluster(TestCheckpointPath(), flags);
  std::vector<Answer> alone;
  for (int i = 0; i < kNumStreams; ++i) {
    alone.push_back(cluster.Generate(StoryRequest(i)));
    ASSERT_TRUE(alone.back().status.ok()) << alone.back().status.error_message();
  }
  // Now the server takes it that answers are short.
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(cluster.Generate(TextRequest("Hi", 1)).status.ok());
  std::vector<Answer> together(kNumStreams);
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < kNumStreams; ++i) {
      clients.emplace_back(
          [&, i] { together[static_cast<size_t>(i)] = cluster.Generate(StoryRequest(i)); });
    }
  }
  for (size_t i = 0; i < alone.size(); ++i) {
    ASSERT_TRUE(together[i].status.ok()) << together[i].status.error_message();
    EXPECT_EQ(together[i].token_ids.size(), size_t{kMaxTokens});
    EXPECT_EQ(together[i].token_ids, alone[i].token_ids) << "story " << i;
    EXPECT_EQ(together[i].text, alone[i].text);
  }
  const v1::GetStatusResponse status = cluster.GetStatus();
  EXPECT_GE(status.preemptions(), 1);
  EXPECT_LE(status.preemptions(), kNumStreams);
  EXPECT_TRUE(cluster.WaitForStatus([](const v1::GetStatusResponse& now) {
    return now.kv_blocks_free() == now.kv_blocks_total() && now.preempted_requests() == 0;
  }));
}

TEST(Preemption, AFullQueueSaysWhenToTryAgain) {
  LocalCluster cluster(TestCheckpointPath(),
                       {"--threads", "1", "--max-num-seqs", "1", "--max-waiting-requests", "1"});
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    clients.emplace_back([&cluster, context = contexts.back().get(), i] {
      v1::GenerateRequest request = TextRequest("Endless", 100'000);
      request.mutable_sampling()->clear_max_tokens();
      request.mutable_sampling()->set_ignore_eos(true);
      const auto reader = cluster.generation().Generate(context, request);
      for (v1::GenerateEvent event; reader->Read(&event);) {
      }
      (void)reader->Finish();
    });
    ASSERT_TRUE(cluster.WaitForStatus([i](const v1::GetStatusResponse& now) {
      return now.running_requests() == 1 && now.waiting_requests() == i;
    }));
  }
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, TextRequest("Hi", 4));
  v1::GenerateEvent event;
  EXPECT_FALSE(reader->Read(&event));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto found = trailing.find("retry-after");
  ASSERT_NE(found, trailing.end());
  EXPECT_GE(std::stoi(std::string(found->second.data(), found->second.size())), 1);
  for (const auto& each : contexts) each->TryCancel();
}

TEST(Preemption, ABurstIsTakenWhileThereArePlacesToRun) {
  constexpr int kNumPlaces = 4;
  LocalCluster cluster(TestCheckpointPath(),
                       {"--threads", "1", "--max-num-seqs", std::to_string(kNumPlaces),
                        "--max-waiting-requests", "1"});
  std::vector<Answer> answers(kNumPlaces + 1);
  {
    std::vector<std::jthread> clients;
    for (Answer& answer : answers) {
      clients.emplace_back([&] { answer = cluster.Generate(TextRequest("A burst", 32)); });
    }
  }
  for (const Answer& answer : answers)
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

}  // namespace
}  // namespace longhand::e2e
