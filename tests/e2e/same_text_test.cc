// The same random requests, again and again, under everything that may change around them: each
// answer is the one that the request has alone, to the last bit.
//
// 24 requests, and eight held to a form; $LONGHAND_RANDOM_REQUESTS and a third more when it is set,
// and $LONGHAND_RANDOM_SEED.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <numeric>
#include <random>
#include <thread>

#include "client/generate/resumable_stream.h"
#include "proto/grpc_status.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/random_requests.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

constexpr int kNumClients = 24;
constexpr int64_t kTokensBetweenKills = 300;

std::vector<std::string> Flags(const std::vector<std::string>& more) {
  std::vector<std::string> flags = {"--tp", "2", "--threads", "1", "--max-model-len", "640"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

// Requests of other tenants, one after the other on each thread, until it goes.
class Load {
 public:
  Load(LocalCluster& cluster, int num_threads) {
    for (int i = 0; i < num_threads; ++i)
      threads_.emplace_back([this, i, &cluster] {
        for (uint64_t n = 0; !stopping_; ++n) {
          v1::GenerateRequest request = TextRequest("Noise " + std::to_string(n), 40);
          request.set_cache_salt("load-" + std::to_string(i));
          request.set_priority(-100);
          request.mutable_sampling()->set_temperature(1);
          request.mutable_sampling()->set_seed(n);
          (void)cluster.Generate(request);
        }
      });
  }
  ~Load() { stopping_ = true; }

 private:
  std::atomic<bool> stopping_ = false;
  std::vector<std::jthread> threads_;
};

class SameText : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    seed_ = Setting("LONGHAND_RANDOM_SEED", 20261127);
    requests_ = RandomRequests(seed_, static_cast<int>(Setting("LONGHAND_RANDOM_REQUESTS", 24)));
    std::printf("%zu requests of seed %lu\n", requests_.size(), static_cast<unsigned long>(seed_));
    LocalCluster cluster(TestCheckpointPath(), Flags({}));
    for (const v1::GenerateRequest& request : requests_) {
      alone_.push_back(cluster.Generate(request));
      ASSERT_TRUE(alone_.back().status.ok()) << request.ShortDebugString().substr(0, 2000) << "\n"
                                             << alone_.back().status.error_message();
    }
    CompareTogether(cluster, "together, and what the prefix cache has of them");
  }

  // As clients do that go on when a connection or a group is lost.
  static Answer Ask(LocalCluster& cluster, size_t idx) {
    v1::GenerateRequest request = requests_[idx];
    request.set_request_id("random-" + std::to_string(idx));
    request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
    auto stream = client::ResumableStream::Generate(cluster.channel(), request, kPatience);
    Answer answer;
    for (v1::GenerateEvent event; stream.Read(&event);) answer.events.push_back(event);
    answer.status = ToGrpc(stream.status());
    return answer;
  }

  // All of them by several clients, in an order of their own.
  static void CompareTogether(LocalCluster& cluster, const std::string& how) {
    std::vector<size_t> order(requests_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937_64(seed_ + 1));
    std::vector<Answer> answers(requests_.size());
    std::atomic<size_t> next = 0;
    {
      std::vector<std::jthread> clients;
      for (int i = 0; i < kNumClients; ++i)
        clients.emplace_back([&] {
          for (size_t n = next++; n < order.size(); n = next++)
            answers[order[n]] = Ask(cluster, order[n]);
        });
    }
    size_t num_different = 0;
    for (size_t i = 0; i < answers.size(); ++i) {
      EXPECT_TRUE(answers[i].status.ok()) << i << ": " << answers[i].status.error_message();
      const std::string expected = Contents(alone_[i]), actual = Contents(answers[i]);
      if (actual == expected) continue;
      if (++num_different > 1) continue;
      EXPECT_EQ(actual, expected) << how << ", request " << i;
    }
    EXPECT_EQ(num_different, 0u) << how;
    std::printf("%s: %zu answers, %zu different\n", how.c_str(), answers.size(), num_different);
  }

  static int64_t KvBytesPerToken() {
    std::vector<std::string> args = {"serve", "--model", TestCheckpointPath(), "--dry-run",
                                     "--json"};
    const std::vector<std::string> flags = Flags({});
    args.insert(args.end(), flags.begin(), flags.end());
    const CommandResult result = RunLonghand(args);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return boost::json::parse(result.out)
        .at("ranks")
        .at(0)
        .at("kv_bytes_per_token")
        .to_number<int64_t>();
  }

  // A cache for less than two whole contexts, of which everybody expects to need little. Who meets
  // whom is up to the threads: again with a server that knows nothing yet, until what is looked for
  // has happened.
  template <typename Has>
  static v1::GetStatusResponse CompareCramped(std::vector<std::string> more, Has&& has_happened) {
    const std::string what = more.empty() ? "" : ", " + more[0];
    more.push_back("--kv-cache-memory-bytes=" + std::to_string(640 * KvBytesPerToken()));
    v1::GetStatusResponse status;
    for (int attempt = 0; attempt < 10 && !has_happened(status); ++attempt)
      CompareInCache(more, what, &status);
    EXPECT_TRUE(has_happened(status));
    return status;
  }

  static void CompareInCache(const std::vector<std::string>& flags,
                             const std::string& what,
                             v1::GetStatusResponse* status) {
    LocalCluster cluster(TestCheckpointPath(), Flags(flags));
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(cluster.Generate(TextRequest("Hi", 1)).status.ok());
    {
      const Load load(cluster, 4);
      CompareTogether(cluster, "preempted among other tenants" + what);
    }
    *status = cluster.GetStatus();
    std::printf("%ld tokens in %ld steps, %ld preemptions, %ld blocks swapped out and %ld in\n",
                static_cast<long>(status->generated_tokens()), static_cast<long>(status->steps()),
                static_cast<long>(status->preemptions()),
                static_cast<long>(status->kv_blocks_swapped_out()),
                static_cast<long>(status->kv_blocks_swapped_in()));
    EXPECT_TRUE(cluster.WaitForStatus([](const v1::GetStatusResponse& now) {
      return now.kv_blocks_free() == now.kv_blocks_total() &&
             now.kv_host_blocks_free() == now.kv_host_blocks_total();
    }));
  }

  static uint64_t seed_;
  static std::vector<v1::GenerateRequest> requests_;
  static std::vector<Answer> alone_;
};

uint64_t SameText::seed_ = 0;
std::vector<v1::GenerateRequest> SameText::requests_;
std::vector<Answer> SameText::alone_;

TEST_F(SameText, InSmallChunksWithoutPrefixCacheOrPipeline) {
  LocalCluster cluster(
      TestCheckpointPath(),
      Flags({"--max-num-batched-tokens", "24", "--max-num-prefill-tokens", "7", "--max-num-seqs",
             "9", "--no-enable-prefix-caching", "--pipeline-depth", "0"}));
  CompareTogether(cluster, "chunks of at most 24 tokens, 7 beside streams");
}

TEST_F(SameText, PreemptedAndComputedAgain) {
  const v1::GetStatusResponse status =
      CompareCramped({}, [](const auto& now) { return now.preemptions() >= 1; });
  EXPECT_EQ(status.kv_blocks_swapped_out(), 0);
}

TEST_F(SameText, PreemptedAndSwapped) {
  CompareCramped({"--swap-space=16MiB", "--no-enable-prefix-caching"},
                 [](const auto& now) { return now.kv_blocks_swapped_in() >= 1; });
}

TEST_F(SameText, OverTwoGroups) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"--data-parallel-size", "2"}));
  CompareTogether(cluster, "divided between two groups");
  const v1::GetStatusResponse status = cluster.GetStatus();
  for (const v1::GroupStatus& group : status.groups())
    EXPECT_GT(group.generated_tokens(), 0) << "group " << group.group();
}

// A request that loses three groups without a token between would be given up, so kills wait for
// each other.
TEST_F(SameText, WhileWorkersAreKilled) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"--max-num-batched-tokens", "64"}));
  std::atomic<bool> stopping = false;
  int num_kills = 0;
  std::jthread killer([&] {
    std::mt19937_64 random(seed_);
    for (int64_t tokens = 0; !stopping;) {
      const v1::GetStatusResponse status = cluster.GetStatus();
      const bool moves = status.ready() && status.generated_tokens() > tokens + kTokensBetweenKills;
      if (!moves) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      num_kills += kill(cluster.FindWorker(random() % 2), SIGKILL) == 0 ? 1 : 0;
      if (!cluster.WaitForStatus([&](const auto& now) {
            tokens = now.generated_tokens();  // Of the new group, all come after.
            return now.epoch() > status.epoch();
          }))
        break;
    }
  });
  CompareTogether(cluster, "while workers are killed");
  stopping = true;
  killer.join();
  EXPECT_GE(num_kills, 1);
  std::printf("%d kills\n", num_kills);
}

}  // namespace
}  // namespace longhand::e2e
