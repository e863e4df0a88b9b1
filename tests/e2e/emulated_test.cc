// Whole clusters over the kernels for GPUs, emulated: dtypes, caches of 8 bits, lost workers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/chaos/chaos.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/near_ties.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using ::testing::IsEmpty;

// The emulation is slow.
constexpr int64_t kTokens = 16;

struct Serving {
  std::string device;
  std::string tp_size = "1";
  std::string kv_cache_dtype = "auto";
  std::string max_num_batched_tokens = "512";
};

std::vector<std::string> Flags(const Serving& serving) {
  return {"--device",
          serving.device,
          "--tp",
          serving.tp_size,
          "--dtype",
          "bfloat16",
          "--kv-cache-dtype",
          serving.kv_cache_dtype,
          "--max-num-batched-tokens",
          serving.max_num_batched_tokens,
          "--threads",
          "1",
          "--max-model-len",
          "1024",
          "--max-num-seqs",
          "8"};
}

std::vector<GreedyAnswer> Answers(const Serving& serving) {
  const parity::Recording& recording = parity::TestRecording();
  LocalCluster cluster(TestCheckpointPath(), Flags(serving));
  std::vector<GreedyAnswer> answers;
  for (const char* name : {"text_chinese", "one_image"}) {
    answers.push_back(AskGreedily(cluster, RecordedRequest(recording, name, kTokens)));
  }
  const v1::GetStatusResponse status = cluster.GetStatus();
  for (const auto& rank : status.ranks()) EXPECT_EQ(rank.device(), serving.device);
  return answers;
}

// The CPU's activations are f32, and a device's bf16: they part at near ties only.
class EmulatedBf16Test : public ::testing::TestWithParam<const char*> {};

TEST_P(EmulatedBf16Test, TokensAreTheCpusButNearTies) {
  EXPECT_TRUE(EqualButNearTies(Answers({"cpu"}), Answers({"emulated", GetParam()})));
}

// The CPU has a cache in int8, too.
TEST_P(EmulatedBf16Test, TokensOverAnInt8CacheAreTheCpusButNearTies) {
  EXPECT_TRUE(EqualButNearTies(Answers({"cpu", GetParam(), "int8"}),
                               Answers({"emulated", GetParam(), "int8"})));
}

// The CPU has none in fp8: these are held against a bf16 cache's, and each other, to the last bit
// however the cache was filled.
TEST_P(EmulatedBf16Test, TokensOverAnFp8CacheAreThoseOfABf16CacheButNearTies) {
  const std::vector<GreedyAnswer> answers = Answers({"emulated", GetParam(), "fp8"});
  EXPECT_TRUE(EqualButNearTies(Answers({"emulated", GetParam()}), answers));
  EXPECT_EQ(Answers({"emulated", GetParam(), "fp8", "16"}), answers);
}

INSTANTIATE_TEST_SUITE_P(TensorParallel,
                         EmulatedBf16Test,
                         ::testing::Values("1", "2"),
                         [](const auto& info) { return std::string("Tp") + info.param; });

// A rank that is killed leaves memory that the other reads; the next group exchanges anew. Every
// answer is that of an undisturbed run, event by event.
TEST(EmulatedCluster, StreamsGoOnThoughARankDiesWhoseMemoryAnotherReads) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"emulated", "2"}));
  const client::ChaosReport report =
      client::RunChaos({cluster.channel(), cluster.ready_file()},
                       {.num_worker_kills = 2, .num_streams = 2, .max_tokens = 24, .seed = 5});
  std::printf("%s\n", report.ToJson().c_str());
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_EQ(report.num_worker_kills, 2);
  size_t num_formed = 0;
  const std::string log = cluster.log(), formed = "sums over ranks: one shot up to ";
  for (size_t at = log.find(formed); at != std::string::npos; at = log.find(formed, at + 1)) {
    ++num_formed;
  }
  EXPECT_GE(num_formed, 2u * 2);  // A line of each rank, and of each group.
}

}  // namespace
}  // namespace longhand::e2e
