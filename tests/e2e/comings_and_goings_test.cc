// Random requests and documents by clients that leave, come back and cancel, with adapters that are
// loaded when they are missed and unloaded again, while the coordinator and workers are killed:
// what was sent stays as it was, and each answer is the one that its request has alone.
//
// $LONGHAND_RANDOM_SEED and $LONGHAND_RANDOM_REQUESTS as for same_text_test.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "client/chaos/chaos.h"
#include "client/generate/resumable_stream.h"
#include "proto/grpc_status.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/random_requests.h"

namespace longhand::e2e {
namespace {

using client::ResumableStream;

constexpr int kNumClients = 24;
constexpr int64_t kTokensBetweenKills = 200;
constexpr size_t kAll = SIZE_MAX;
// Twice as many as there is room for. What a name has does not change.
const std::vector<std::string> kAdapters = {"text", "eyes", "text-2", "eyes-2"};

std::string DirectoryOf(const std::string& adapter) {
  return std::string(LONGHAND_TEST_DATA) + "/adapters/" + adapter.substr(0, 4);
}

std::vector<std::string> Flags(std::vector<std::string> more) {
  const std::vector<std::string> flags = {"--tp", "2", "--threads", "1", "--max-model-len", "640"};
  more.insert(more.begin(), flags.begin(), flags.end());
  return more;
}

// A request, or a document's.
struct Asked {
  v1::GenerateRequest request;
  v1::WriteDocumentRequest document;
  bool is_document = false;

  const std::string& model() const { return is_document ? document.model() : request.model(); }
  ResumableStream Open(LocalCluster& cluster, const std::string& id) const {
    v1::GenerateRequest named = request;
    v1::WriteDocumentRequest named_document = document;
    named.set_request_id(id);
    named_document.set_request_id(id);
    ResumableStream stream =
        is_document ? ResumableStream::WriteDocument(cluster.channel(), named_document, kPatience)
                    : ResumableStream::Generate(cluster.channel(), named, kPatience);
    stream.ExpectServer();
    return stream;
  }
  std::string ContentsOf(const Answer& answer) const {
    if (!is_document) return Contents(answer);
    std::string contents;
    for (const v1::GenerateEvent& event : answer.events) contents += client::Comparable(event);
    return contents;
  }
};

Answer Read(ResumableStream& stream, size_t most) {
  Answer answer;
  for (v1::GenerateEvent event; answer.events.size() < most && stream.Read(&event);)
    answer.events.push_back(event);
  answer.status = ToGrpc(stream.status());
  return answer;
}

grpc::Status Load(LocalCluster& cluster, const std::string& adapter) {
  grpc::ClientContext context;
  v1::LoadAdapterRequest request;
  request.set_name(adapter);
  request.set_directory(DirectoryOf(adapter));
  v1::LoadAdapterResponse response;
  return cluster.cluster().LoadAdapter(&context, request, &response);
}

void Unload(LocalCluster& cluster, const std::string& adapter) {
  grpc::ClientContext context;
  v1::UnloadAdapterRequest request;
  request.set_name(adapter);
  v1::UnloadAdapterResponse response;
  (void)cluster.cluster().UnloadAdapter(&context, request, &response);
}

class ComingsAndGoings : public ::testing::Test {
 protected:
  ComingsAndGoings() {
    std::mt19937_64 random(seed_);
    const auto choose_model = [&](auto* request) {
      request->set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
      if (random() % 2 == 0) request->set_model(kAdapters[random() % kAdapters.size()]);
    };
    const int count = static_cast<int>(Setting("LONGHAND_RANDOM_REQUESTS", 24));
    for (v1::GenerateRequest& request : RandomRequests(seed_, count)) {
      choose_model(&request);
      asked_.push_back({.request = std::move(request)});
    }
    for (v1::WriteDocumentRequest& document : RandomDocuments(seed_, count / 6)) {
      choose_model(&document);
      asked_.push_back({.document = std::move(document), .is_document = true});
    }
    std::printf("%zu requests of seed %lu\n", asked_.size(), static_cast<unsigned long>(seed_));
  }

  void AskAlone(std::vector<std::string> flags) {
    flags.push_back("--lora-modules");
    for (const std::string& adapter : kAdapters)
      flags.push_back(adapter + "=" + DirectoryOf(adapter));
    LocalCluster cluster(TestCheckpointPath(), Flags(flags));
    for (size_t i = 0; i < asked_.size(); ++i) {
      ResumableStream stream = asked_[i].Open(cluster, "alone-" + std::to_string(i));
      alone_.push_back(Read(stream, kAll));
      ASSERT_TRUE(alone_.back().status.ok())
          << asked_[i].request.ShortDebugString().substr(0, 2000) << "\n"
          << alone_.back().status.error_message();
    }
  }

  // Which shows what has ended, too.
  std::vector<std::string> WithJournal(std::vector<std::string> flags) const {
    flags.insert(flags.end(), {"--journal", (directory_ / "journal").string()});
    return Flags(std::move(flags));
  }

  // All of them by several clients, in an order of their own, while processes are killed.
  void CompareTogether(LocalCluster& cluster, bool kills_coordinators) {
    std::vector<size_t> order(asked_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937_64(seed_ + 1));
    std::atomic<size_t> next = 0;
    std::atomic<bool> stopping = false;
    std::jthread killer([&] { Kill(cluster, kills_coordinators, stopping); });
    {
      std::vector<std::jthread> clients;
      for (int i = 0; i < kNumClients; ++i)
        clients.emplace_back([&] {
          for (size_t n = next++; n < order.size(); n = next++) BeClient(cluster, order[n]);
        });
    }
    stopping = true;
    killer.join();
    EXPECT_TRUE(cluster.WaitForStatus([](const v1::GetStatusResponse& now) {
      return now.running_requests() == 0 && now.waiting_requests() == 0 &&
             now.kv_blocks_promised() == 0 && now.kv_blocks_free() == now.kv_blocks_total() &&
             now.kv_host_blocks_free() == now.kv_host_blocks_total();
    }));
  }

 private:
  // Each kind twice at most: a request that meets three, without a token between, is given up.
  void Kill(LocalCluster& cluster, bool kills_coordinators, const std::atomic<bool>& stopping) {
    std::vector<bool> kills = {false, false};  // whether the coordinator is killed
    if (kills_coordinators) kills = {true, false, true, false};
    std::shuffle(kills.begin(), kills.end(), std::mt19937_64(seed_));
    size_t num_kills = 0;
    int64_t epoch = 0, tokens = 0;
    while (!stopping && num_kills < kills.size()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const v1::GetStatusResponse status = cluster.GetStatus();
      if (std::exchange(epoch, status.epoch()) != status.epoch())
        tokens = status.generated_tokens();
      if (!status.ready() || status.generated_tokens() < tokens + kTokensBetweenKills) continue;
      const bool is_coordinator = kills[num_kills];
      const pid_t pid =
          is_coordinator ? cluster.FindCoordinator() : cluster.FindWorker(num_kills % 2);
      num_kills += kill(pid, SIGKILL) == 0 ? 1 : 0;
      if (is_coordinator) {
        EXPECT_TRUE(WaitUntilGone(pid));
      }
      epoch = 0;
    }
    std::printf("%zu kills\n", num_kills);
    EXPECT_GE(num_kills, 1u);
  }

  void BeClient(LocalCluster& cluster, size_t idx) {
    std::mt19937_64 random(seed_ * 1000 + idx);
    switch (random() % 4) {
      case 0:
        return ExpectWhole(idx, Begin(cluster, idx, kAll, &random));
      case 1: {
        std::jthread twin(
            [&, random]() mutable { ExpectWhole(idx, Begin(cluster, idx, kAll, &random)); });
        return ExpectWhole(idx, Begin(cluster, idx, kAll, &random));
      }
      case 2:
        return LeaveAndComeBack(cluster, idx, &random);
      default:
        return Cancel(cluster, idx, &random);
    }
  }

  static std::string IdOf(size_t idx) { return "random-" + std::to_string(idx); }
  // Of its events; at least one.
  size_t Some(size_t idx, std::mt19937_64* random) const {
    return 1 + (*random)() % alone_[idx].events.size();
  }

  // The adapter may be missing, and there may be no room for it until another one goes.
  Answer Begin(LocalCluster& cluster, size_t idx, size_t most, std::mt19937_64* random) {
    while (true) {
      ResumableStream stream = asked_[idx].Open(cluster, IdOf(idx));
      Answer answer = Read(stream, most);
      if (!answer.events.empty() || answer.status.error_code() != grpc::StatusCode::NOT_FOUND)
        return answer;
      const grpc::Status loaded = Load(cluster, asked_[idx].model());
      if (loaded.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
        Unload(cluster, kAdapters[(*random)() % kAdapters.size()]);
    }
  }

  static Answer Attach(LocalCluster& cluster, size_t idx, int64_t from) {
    ResumableStream stream = ResumableStream::Attach(cluster.channel(), IdOf(idx), from, kPatience);
    stream.ExpectServer();
    return Read(stream, kAll);
  }

  void LeaveAndComeBack(LocalCluster& cluster, size_t idx, std::mt19937_64* random) {
    const Answer before = Begin(cluster, idx, Some(idx, random), random);
    ASSERT_FALSE(before.events.empty()) << IdOf(idx) << ": " << before.status.error_message();
    const auto from = static_cast<int64_t>(1 + (*random)() % before.events.size());
    Answer after = Attach(cluster, idx, from);
    ExpectSameEvents(idx, before, after);
    after.events.insert(after.events.begin(), before.events.begin(),
                        before.events.begin() + from - 1);
    ExpectWhole(idx, after);
  }

  // It may have ended before, and the word may come to a coordinator that is killed.
  void Cancel(LocalCluster& cluster, size_t idx, std::mt19937_64* random) {
    const Answer before = Begin(cluster, idx, Some(idx, random), random);
    grpc::ClientContext context;
    v1::CancelRequest request;
    request.set_request_id(IdOf(idx));
    v1::CancelResponse response;
    (void)cluster.generation().Cancel(&context, request, &response);
    const Answer after = Attach(cluster, idx, 1);
    ExpectSameEvents(idx, before, after);
    if (after.status.error_code() == grpc::StatusCode::CANCELLED) {
      ExpectBeginning(idx, after);
    } else {
      ExpectWhole(idx, after);
    }
  }

  void ExpectWhole(size_t idx, const Answer& answer) {
    std::lock_guard lock(mutex_);
    EXPECT_TRUE(answer.status.ok()) << IdOf(idx) << ": " << answer.status.error_message();
    for (size_t i = 0; i < answer.events.size(); ++i)
      ASSERT_EQ(answer.events[i].seq(), static_cast<int64_t>(i) + 1) << IdOf(idx);
    EXPECT_EQ(asked_[idx].ContentsOf(answer), asked_[idx].ContentsOf(alone_[idx])) << IdOf(idx);
  }

  void ExpectSameEvents(size_t idx, const Answer& before, const Answer& after) {
    std::lock_guard lock(mutex_);
    for (const v1::GenerateEvent& event : after.events) {
      const auto place = static_cast<size_t>(event.seq()) - 1;
      if (place >= before.events.size()) continue;
      EXPECT_EQ(event.SerializeAsString(), before.events[place].SerializeAsString()) << IdOf(idx);
    }
  }

  // Of each choice's tokens.
  void ExpectBeginning(size_t idx, const Answer& answer) {
    const auto tokens_of = [](const Answer& of) {
      std::map<uint32_t, std::vector<int32_t>> tokens;
      for (const v1::GenerateEvent& event : of.events)
        tokens[event.choice()].insert(tokens[event.choice()].end(), event.token_ids().begin(),
                                      event.token_ids().end());
      return tokens;
    };
    std::map<uint32_t, std::vector<int32_t>> whole = tokens_of(alone_[idx]);
    std::lock_guard lock(mutex_);
    for (auto& [choice, tokens] : tokens_of(answer)) {
      ASSERT_LE(tokens.size(), whole[choice].size()) << IdOf(idx);
      whole[choice].resize(tokens.size());
      EXPECT_EQ(tokens, whole[choice]) << IdOf(idx) << ", choice " << choice;
    }
  }

  const testing::TempDirectory directory_;
  const uint64_t seed_ = Setting("LONGHAND_RANDOM_SEED", 20261128);
  std::vector<Asked> asked_;
  std::vector<Answer> alone_;
  std::mutex mutex_;  // of expectations: one message at a time
};

TEST_F(ComingsAndGoings, WhileCoordinatorsAndWorkersAreKilled) {
  ASSERT_NO_FATAL_FAILURE(AskAlone({}));
  LocalCluster cluster(TestCheckpointPath(), WithJournal({"--max-loras", "2"}));
  CompareTogether(cluster, /*kills_coordinators=*/true);
}

// 640 tokens of 80 bytes on each rank.
TEST_F(ComingsAndGoings, InACrampedCacheOfEightBitsWhileWorkersAreKilled) {
  const std::vector<std::string> eight_bits = {"--quantization", "int8",         "--kv-cache-dtype",
                                               "int8",           "--block-size", "32"};
  ASSERT_NO_FATAL_FAILURE(AskAlone(eight_bits));
  std::vector<std::string> flags = eight_bits;
  flags.insert(flags.end(), {"--max-loras", "2", "--kv-cache-memory-bytes", "51200", "--swap-space",
                             "16MiB", "--max-num-batched-tokens", "64"});
  LocalCluster cluster(TestCheckpointPath(), WithJournal(flags));
  CompareTogether(cluster, /*kills_coordinators=*/false);
}

}  // namespace
}  // namespace longhand::e2e
