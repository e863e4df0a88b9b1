// LoRA adapters beside the model: answers as PEFT's, loading and unloading while requests run, and
// what a lost worker and a restart make of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

std::string AdapterPath(const std::string& name) {
  return std::string(LONGHAND_TEST_DATA) + "/adapters/" + name;
}

std::vector<std::string> With(std::vector<std::string> more) {
  const std::vector<std::string> flags = {"--tp", "2", "--threads", "1", "--dtype", "float32"};
  more.insert(more.begin(), flags.begin(), flags.end());
  return more;
}

const std::vector<std::string> kBoth = {"--lora-modules", "text=" + AdapterPath("text"),
                                        "eyes=" + AdapterPath("eyes")};

struct Recorded {
  v1::GenerateRequest request;
  std::vector<int32_t> token_ids;
};

// What PEFT answers, and what the model without an adapter does.
std::vector<Recorded> RecordedAnswers() {
  const parity::Recording& recording = parity::TestRecording();
  const boost::json::object adapters =
      boost::json::parse(ReadBytes(AdapterPath("recording.json"))).as_object();
  std::vector<Recorded> all;
  for (const auto& [adapter, recorded] : adapters) {
    for (const auto& [name, answer] : recorded.at("cases").as_object()) {
      const auto ids = boost::json::value_to<std::vector<int32_t>>(answer.at("greedy_ids"));
      all.push_back({RecordedRequest(recording, name, std::ssize(ids)), ids});
      all.push_back(
          {all.back().request, recording.Ints("case/" + std::string(name) + "/greedy_ids")});
      all[all.size() - 2].request.set_model(adapter);
    }
  }
  return all;
}

grpc::Status Load(LocalCluster& cluster, const std::string& name, const std::string& directory) {
  grpc::ClientContext context;
  v1::LoadAdapterRequest request;
  request.set_name(name);
  request.set_directory(directory);
  v1::LoadAdapterResponse response;
  return cluster.cluster().LoadAdapter(&context, request, &response);
}

grpc::Status Unload(LocalCluster& cluster, const std::string& name) {
  grpc::ClientContext context;
  v1::UnloadAdapterRequest request;
  request.set_name(name);
  v1::UnloadAdapterResponse response;
  return cluster.cluster().UnloadAdapter(&context, request, &response);
}

v1::GenerateRequest AdapterRequest(const std::string& adapter, int64_t max_tokens) {
  v1::GenerateRequest request = TextRequest("Same text?", max_tokens);
  request.set_model(adapter);
  return request;
}

TEST(Adapters, RequestsForAdaptersAndTheModelTogetherAreAnsweredAsByPeft) {
  LocalCluster cluster(TestCheckpointPath(), With(kBoth));
  const std::vector<Recorded> recorded = RecordedAnswers();
  ASSERT_GE(recorded.size(), 8u);
  std::vector<std::thread> clients;
  for (const Recorded& each : recorded) {
    clients.emplace_back([&cluster, &each] {
      const Answer answer = cluster.Generate(each.request);
      EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
      EXPECT_EQ(answer.token_ids, each.token_ids) << "model '" << each.request.model() << "'";
    });
  }
  for (std::thread& client : clients) client.join();
  const v1::GetStatusResponse status = cluster.GetStatus();
  ASSERT_EQ(status.adapters_size(), 2);
  EXPECT_EQ(status.adapters(0).name(), "eyes");
  EXPECT_EQ(status.max_loras(), 2);
  const Answer unknown = cluster.Generate(AdapterRequest("nobody", 5));
  EXPECT_EQ(unknown.status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(Adapters, BesideFp8WeightsEachHasTheAnswerThatItHasAloneAndAnotherThanTheModel) {
  std::vector<std::string> flags = With(kBoth);
  flags.insert(flags.end(), {"--quantization", "fp8"});
  LocalCluster cluster(TestCheckpointPath(), flags);
  const std::vector<std::string> models = {"", "text", "eyes"};
  std::vector<std::vector<int32_t>> alone;
  for (const std::string& model : models) {
    alone.push_back(cluster.Generate(AdapterRequest(model, 24)).token_ids);
    EXPECT_FALSE(alone.back().empty());
  }
  EXPECT_NE(alone[0], alone[1]);
  EXPECT_NE(alone[0], alone[2]);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < alone.size(); ++i) {
    clients.emplace_back([&, i] {
      EXPECT_EQ(cluster.Generate(AdapterRequest(models[i], 24)).token_ids, alone[i]) << i;
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST(Adapters, AnAnswerGoesOnWhenAWorkerIsLost) {
  LocalCluster cluster(TestCheckpointPath(), With(kBoth));
  const v1::GenerateRequest request = AdapterRequest("text", 400);
  const Answer undisturbed = cluster.Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  EXPECT_NE(undisturbed.token_ids, cluster.Generate(AdapterRequest("", 400)).token_ids);
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, request);
  std::vector<int32_t> token_ids;
  for (v1::GenerateEvent event; reader->Read(&event);) {
    if (token_ids.empty()) {
      EXPECT_EQ(kill(cluster.worker_pids()[1], SIGKILL), 0);
    }
    token_ids.insert(token_ids.end(), event.token_ids().begin(), event.token_ids().end());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(token_ids, undisturbed.token_ids);
}

TEST(Adapters, LoadedAndUnloadedWhileOthersRun) {
  LocalCluster cluster(TestCheckpointPath(), With({"--max-loras", "1"}));
  EXPECT_EQ(cluster.Generate(AdapterRequest("text", 5)).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Load(cluster, "text", "/no/such/adapter").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Load(cluster, "text", TestCheckpointPath()).error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_TRUE(Load(cluster, "text", AdapterPath("text")).ok());
  EXPECT_EQ(Load(cluster, "text", AdapterPath("eyes")).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Load(cluster, "eyes", AdapterPath("eyes")).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Answer with_text = cluster.Generate(AdapterRequest("text", 600));
  ASSERT_TRUE(with_text.status.ok()) << with_text.status.error_message();

  // It is found no more, and is there until the request that has it ends.
  grpc::ClientContext context;
  const auto reader = cluster.generation().Generate(&context, AdapterRequest("text", 600));
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  std::vector<int32_t> token_ids(event.token_ids().begin(), event.token_ids().end());
  std::atomic<bool> is_unloaded = false;
  std::thread unload([&] {
    EXPECT_TRUE(Unload(cluster, "text").ok());
    is_unloaded = true;
  });
  ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.adapters_size() == 0; }));
  EXPECT_EQ(cluster.Generate(AdapterRequest("text", 5)).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  while (reader->Read(&event))
    token_ids.insert(token_ids.end(), event.token_ids().begin(), event.token_ids().end());
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(token_ids, with_text.token_ids);
  unload.join();
  EXPECT_TRUE(is_unloaded);
  EXPECT_EQ(Unload(cluster, "text").error_code(), grpc::StatusCode::NOT_FOUND);

  // The name may be another adapter's now, which finds nothing of the first one's.
  ASSERT_TRUE(Load(cluster, "text", AdapterPath("eyes")).ok());
  const Answer with_eyes = cluster.Generate(AdapterRequest("text", 600));
  EXPECT_TRUE(with_eyes.status.ok());
  EXPECT_NE(with_eyes.token_ids, with_text.token_ids);
}

// Loaded by a call, which the next coordinator knows of by the journal alone.
TEST(Adapters, AnAnswerGoesOnWithItsAdapterAfterARestartAndWithNoOther) {
  const testing::TempDirectory directory;
  const std::filesystem::path copy = directory / "text";
  std::filesystem::copy(AdapterPath("text"), copy);
  LocalCluster cluster(TestCheckpointPath(),
                       With({"--max-loras", "1", "--journal", (directory / "journal").string()}));
  ASSERT_TRUE(Load(cluster, "text", copy.string()).ok());
  v1::GenerateRequest request = AdapterRequest("text", 600);
  const Answer undisturbed = cluster.Generate(request);
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  const auto crash_in = [&](const std::string& id, const std::function<void()>& meanwhile) {
    request.set_request_id(id);
    grpc::ClientContext context;
    const auto reader = cluster.generation().Generate(&context, request);
    v1::GenerateEvent event;
    EXPECT_TRUE(reader->Read(&event));
    meanwhile();
    EXPECT_EQ(kill(cluster.FindCoordinator(), SIGKILL), 0);
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
    cluster.GetStatus();  // It is back.
    return cluster.Attach(id, 1);
  };
  const Answer same = crash_in("same", [] {});
  EXPECT_TRUE(same.status.ok()) << same.status.error_message();
  EXPECT_EQ(same.token_ids, undisturbed.token_ids);
  const Answer other = crash_in("other", [&] {
    std::filesystem::remove_all(copy);
    std::filesystem::copy(AdapterPath("eyes"), copy);
  });
  EXPECT_EQ(other.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(other.status.error_message(), HasSubstr("another one than the request was begun"));
}

// A new one under the old one's name, while a request of the old one runs.
TEST(Adapters, AnswersOfTwoThatHadOneNameGoOnAfterARestart) {
  const testing::TempDirectory directory;
  LocalCluster cluster(TestCheckpointPath(),
                       With({"--max-loras", "2", "--journal", (directory / "journal").string()}));
  const std::vector<std::string> adapters = {"text", "eyes"};
  std::vector<std::vector<int32_t>> undisturbed;
  for (const std::string& adapter : adapters) {
    ASSERT_TRUE(Load(cluster, adapter, AdapterPath(adapter)).ok());
    undisturbed.push_back(cluster.Generate(AdapterRequest(adapter, 1500)).token_ids);
    ASSERT_TRUE(Unload(cluster, adapter).ok());
  }
  ASSERT_NE(undisturbed[0], undisturbed[1]);
  std::vector<std::thread> unloads;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>>> readers;
  for (const std::string& adapter : adapters) {
    ASSERT_TRUE(Load(cluster, "story", AdapterPath(adapter)).ok());
    v1::GenerateRequest request = AdapterRequest("story", 1500);
    request.set_request_id(adapter);
    request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(cluster.generation().Generate(contexts.back().get(), request));
    v1::GenerateEvent event;
    ASSERT_TRUE(readers.back()->Read(&event));
    if (adapter == adapters.back()) continue;
    unloads.emplace_back([&] { (void)Unload(cluster, "story"); });
    ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.adapters_size() == 0; }));
  }
  ASSERT_EQ(kill(cluster.FindCoordinator(), SIGKILL), 0);
  for (std::thread& unload : unloads) unload.join();
  for (const auto& reader : readers) {
    for (v1::GenerateEvent event; reader->Read(&event);) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  const v1::GetStatusResponse status = cluster.GetStatus();  // It is back.
  ASSERT_EQ(status.adapters_size(), 1);
  EXPECT_EQ(status.adapters(0).directory(), AdapterPath("eyes"));
  for (size_t i = 0; i < adapters.size(); ++i) {
    const Answer answer = cluster.Attach(adapters[i], 1);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.token_ids, undisturbed[i]) << adapters[i];
  }
}

TEST(Adapters, AServerDoesNotStartWithAnAdapterThatIsNone) {
  const testing::TempDirectory directory;
  const CommandResult result =
      RunLonghand({"serve", "--model", TestCheckpointPath(), "--http-address", "127.0.0.1:0",
                   "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
                   "--lora-modules", "text=" + (directory / "none").string()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("adapter 'text'"));
}

}  // namespace
}  // namespace longhand::e2e
