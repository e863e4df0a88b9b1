// Documents as a feature of the server: the same events whatever happens meanwhile. Random weights
// write noise to a plan of the client's; the bundled model plans and writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "client/chaos/chaos.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using client::Comparable;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kPlan =
    "Section 1 - Main Point: the mill - Word Count: 200\n"
    "Section 2 - Main Point: the town - Word Count: 300\n"
    "Section 3 - Main Point: the sea - Word Count: 100";

// Of a document that random weights write.
v1::WriteDocumentRequest NoiseRequest(const std::string& id, int64_t max_tokens = 60) {
  v1::WriteDocumentRequest request;
  request.set_request_id(id);
  request.set_instruction("Write.");
  request.set_plan(kPlan);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(11);
  request.mutable_sampling()->set_max_tokens(max_tokens);
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  return request;
}

void ReadAll(grpc::ClientReader<v1::GenerateEvent>& reader,
             Answer* answer,
             std::atomic<size_t>* num_seen = nullptr) {
  for (v1::GenerateEvent event; reader.Read(&event);) {
    answer->text += event.text();
    answer->events.push_back(event);
    if (num_seen != nullptr) ++*num_seen;
  }
  answer->status = reader.Finish();
}

Answer Write(LocalCluster& cluster,
             const v1::WriteDocumentRequest& request,
             const std::string& key = "") {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  Answer answer;
  ReadAll(*cluster.generation().WriteDocument(&context, request), &answer);
  return answer;
}

grpc::Status Cancel(LocalCluster& cluster, const std::string& id, const std::string& key = "") {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  v1::CancelRequest request;
  request.set_request_id(id);
  v1::CancelResponse response;
  return cluster.generation().Cancel(&context, request, &response);
}

// A client on a thread of its own.
class Follower {
 public:
  Follower(LocalCluster& cluster, const v1::WriteDocumentRequest& request)
      : thread_([&cluster, request, this] {
          ReadAll(*cluster.generation().WriteDocument(&context_, request), &answer_, &num_seen_);
        }) {}
  ~Follower() {
    if (thread_.joinable()) thread_.join();
  }
  void WaitFor(size_t num_events) const {
    while (num_seen_ < num_events) std::this_thread::yield();
  }
  void Leave() { context_.TryCancel(); }
  const Answer& Finish() {
    thread_.join();
    return answer_;
  }

 private:
  grpc::ClientContext context_;
  std::atomic<size_t> num_seen_ = 0;
  Answer answer_;
  std::thread thread_;
};

std::vector<std::string> EventsOf(const Answer& answer) {
  std::vector<std::string> events;
  for (const v1::GenerateEvent& event : answer.events) events.push_back(Comparable(event));
  return events;
}

class Documents : public ::testing::Test {
 protected:
  std::vector<std::string> Flags(std::vector<std::string> more = {}) const {
    std::vector<std::string> flags = {"--tp", "2",         "--threads",
                                      "1",    "--journal", (directory_ / "journal").string()};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  }
  const testing::TempDirectory directory_;
};

TEST_F(Documents, AreWrittenToThePlanOfTheClient) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  const Answer answer = Write(cluster, NoiseRequest("d"));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const v1::DocumentPlan& plan = answer.events[0].document().plan();
  EXPECT_EQ(answer.events[0].request_id(), "d");
  EXPECT_EQ(plan.text(), kPlan);
  ASSERT_EQ(plan.sections_size(), 3);
  int64_t seq = 0;
  int num_begun = 0, num_ended = 0;
  for (const v1::GenerateEvent& event : answer.events) {
    EXPECT_EQ(event.seq(), ++seq);
    num_begun += event.document().has_section_begin();
    num_ended += event.document().has_section_end();
  }
  EXPECT_EQ(num_begun, 3);
  EXPECT_EQ(num_ended, 3);
  const v1::GenerateEvent& last = answer.events.back();
  EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(last.finish_detail(), "document_written");
  EXPECT_EQ(last.usage().completion_tokens(), 3 * 60);
  // The calls are kept as requests of their own, of which the document is made.
  const Answer section = cluster.Attach("d/section-2", 1);
  EXPECT_TRUE(section.status.ok()) << section.status.error_message();
  EXPECT_EQ(section.events.size(), 60u);
}

TEST_F(Documents, AttachShowsTheRestFromAnyEventAndTheSameRequestIsNoNewOne) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  v1::WriteDocumentRequest request = NoiseRequest("d");
  const Answer answer = Write(cluster, request);
  const auto from = static_cast<int64_t>(answer.events.size()) / 2;
  const Answer rest = cluster.Attach("d", from);
  ASSERT_EQ(rest.events.size(), answer.events.size() + 1 - static_cast<size_t>(from));
  EXPECT_EQ(rest.events[0].SerializeAsString(),
            answer.events[static_cast<size_t>(from) - 1].SerializeAsString());
  EXPECT_EQ(EventsOf(Write(cluster, request)), EventsOf(answer));
  request.set_instruction("Write something else.");
  EXPECT_EQ(Write(cluster, request).status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  v1::GenerateRequest other = TextRequest("Hi", 3);
  other.set_request_id("d");
  EXPECT_EQ(cluster.Generate(other).status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

// In the middle of its second section, then of its third.
TEST_F(Documents, GoOnAfterTheCoordinatorWasKilled) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  const Answer undisturbed = Write(cluster, NoiseRequest("undisturbed", 400));
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  Follower follower(cluster, NoiseRequest("d", 400));
  follower.WaitFor(500);
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  const Answer& beginning = follower.Finish();
  EXPECT_EQ(beginning.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_LT(beginning.events.size(), undisturbed.events.size());
  cluster.GetStatus();  // It is back.
  EXPECT_EQ(EventsOf(cluster.Attach("d", 1)), EventsOf(undisturbed));
}

TEST_F(Documents, GoOnAfterAWorkerWasKilled) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  const Answer undisturbed = Write(cluster, NoiseRequest("undisturbed", 400));
  Follower follower(cluster, NoiseRequest("d", 400));
  follower.WaitFor(380);  // The next section may find no group.
  ASSERT_EQ(kill(cluster.worker_pids()[1], SIGKILL), 0);
  const Answer& answer = follower.Finish();
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(EventsOf(answer), EventsOf(undisturbed));
}

// Also by the next coordinator.
TEST_F(Documents, AreWrittenByTheAdapterThatTheyName) {
  LocalCluster cluster(TestCheckpointPath(),
                       Flags({"--lora-modules", "text=" LONGHAND_TEST_DATA "/adapters/text"}));
  v1::WriteDocumentRequest request = NoiseRequest("undisturbed", 400);
  request.set_model("text");
  const Answer undisturbed = Write(cluster, request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  EXPECT_NE(Write(cluster, NoiseRequest("of-the-model-itself", 400)).text, undisturbed.text);
  request.set_request_id("d");
  Follower follower(cluster, request);
  follower.WaitFor(300);
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  ASSERT_LT(follower.Finish().events.size(), undisturbed.events.size());
  cluster.GetStatus();  // It is back.
  EXPECT_EQ(EventsOf(cluster.Attach("d", 1)), EventsOf(undisturbed));
}

TEST_F(Documents, CancelEndsThemAndTheCallThatRuns) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  Follower follower(cluster, NoiseRequest("d", 100000));
  follower.WaitFor(10);
  EXPECT_TRUE(Cancel(cluster, "d").ok());
  EXPECT_EQ(follower.Finish().status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 0; }));
  EXPECT_EQ(Cancel(cluster, "d").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(cluster.Attach("d", 1).status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(Documents, EndWhenNobodyFollowsThemUnlessTheyAreToGoOn) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  v1::WriteDocumentRequest request = NoiseRequest("left", 100000);
  request.set_on_disconnect(v1::ON_DISCONNECT_CANCEL);
  Follower leaves(cluster, request);
  leaves.WaitFor(10);
  leaves.Leave();
  leaves.Finish();
  // Before anybody follows it again.
  EXPECT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.running_requests() == 0; }));
  EXPECT_EQ(cluster.Attach("left", 1).status.error_code(), grpc::StatusCode::CANCELLED);
  Follower stays(cluster, NoiseRequest("stays"));
  stays.WaitFor(10);
  stays.Leave();
  stays.Finish();
  const Answer answer = cluster.Attach("stays", 1);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.events.back().finish_detail(), "document_written");
}

TEST_F(Documents, AreTheirOwnersAlone) {
  const std::string keys = directory_.Write("keys", "alice:a-key\nbob:b-key\n").string();
  LocalCluster cluster(TestCheckpointPath(), Flags({"--api-key-file", keys}));
  EXPECT_EQ(Write(cluster, NoiseRequest("d")).status.error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Write(cluster, NoiseRequest("d"), "a-key").status.ok());
  EXPECT_EQ(Write(cluster, NoiseRequest("d"), "b-key").status.error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Cancel(cluster, "d", "b-key").error_code(), grpc::StatusCode::NOT_FOUND);
  for (const char* id : {"d", "d/section-1"}) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer b-key");
    v1::AttachRequest attach;
    attach.set_request_id(id);
    Answer answer;
    ReadAll(*cluster.generation().Attach(&context, attach), &answer);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND) << id;
  }
}

TEST_F(Documents, WhatIsWrongIsSaidBeforeAnythingIsWritten) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"--max-model-len", "2048"}));
  const auto expect_invalid = [&](const auto& change, const std::string& message) {
    v1::WriteDocumentRequest request = NoiseRequest("");
    change(request);
    const Answer answer = Write(cluster, request);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << message;
    EXPECT_THAT(answer.status.error_message(), HasSubstr(message));
    EXPECT_THAT(answer.events, IsEmpty());
  };
  expect_invalid([](auto& r) { r.set_instruction(" \n"); }, "instruction is empty");
  expect_invalid([](auto& r) { r.set_plan("Once upon a time"); },
                 "plan cannot be read: no line begins with 'Section 1 -'; it begins with 'Once");
  expect_invalid([](auto& r) { r.mutable_length()->set_target_words(-1); },
                 "target_words is -1; it must be from 1 to 640000");
  expect_invalid([](auto& r) { r.mutable_length()->set_target_words(640001); },
                 "target_words is 640001");
  expect_invalid([](auto& r) { r.mutable_sampling()->set_n(2); }, "n is set");
  expect_invalid([](auto& r) { r.mutable_sampling()->add_stop("END"); }, "stop is set");
  expect_invalid([](auto& r) { r.mutable_sampling()->add_stop_token_ids(1); },
                 "stop_token_ids is set");
  expect_invalid([](auto& r) { r.mutable_sampling()->set_min_tokens(1); }, "min_tokens is set");
  expect_invalid([](auto& r) { r.mutable_sampling()->set_ignore_eos(true); }, "ignore_eos is set");
  expect_invalid([](auto& r) { (*r.mutable_sampling()->mutable_logit_bias())[5] = 1; },
                 "logit_bias is set");
  expect_invalid([](auto& r) { r.mutable_sampling()->set_temperature(-1); }, "temperature is -1");
  expect_invalid([](auto& r) { r.mutable_sampling()->set_max_tokens(4000); },
                 "together they must fit the context of 2048");
  expect_invalid([](auto& r) { r.set_request_id("another/section-1"); }, "request_id is 'another/section-1'; it must be of");
  expect_invalid([](auto& r) { r.set_priority(101); }, "priority is 101");
  expect_invalid([](auto& r) { r.add_images()->set_data("no picture"); }, "image 0");
  v1::WriteDocumentRequest unknown = NoiseRequest("");
  unknown.set_model("another");
  EXPECT_EQ(Write(cluster, unknown).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Write(cluster, NoiseRequest("")).status.ok());
}

TEST_F(Documents, AreSoManyAtOnce) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"--max-documents", "1"}));
  Follower first(cluster, NoiseRequest("first", 100000));
  first.WaitFor(3);
  const Answer refused = Write(cluster, NoiseRequest("second"));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(),
              HasSubstr("1 documents are being written; at most 1 may be at once"));
  EXPECT_TRUE(Cancel(cluster, "first").ok());
  first.Finish();
  EXPECT_TRUE(Write(cluster, NoiseRequest("second")).status.ok());
}

// With sections yet to come.
TEST_F(Documents, EndBeforeADrainingCoordinatorDoes) {
  LocalCluster cluster(TestCheckpointPath(), Flags());
  Follower follower(cluster, NoiseRequest("d", 300));
  follower.WaitFor(10);
  std::thread drain([&] {
    grpc::ClientContext context;
    v1::DrainResponse response;
    EXPECT_TRUE(cluster.cluster().Drain(&context, {}, &response).ok());
  });
  EXPECT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.draining(); }));
  const Answer refused = Write(cluster, NoiseRequest("late"));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("draining"));
  const Answer& answer = follower.Finish();
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.events.back().finish_detail(), "document_written");
  drain.join();
}

// With one that waits for a document, which waits for the next coordinator.
TEST_F(Documents, AStopAnswersADrainThatWaitsForThem) {
  LocalCluster cluster(TestCheckpointPath(), Flags({"--shutdown-timeout", "0"}));
  Follower follower(cluster, NoiseRequest("d", 100000));
  follower.WaitFor(3);
  std::thread drain([&] {
    grpc::ClientContext context;
    v1::DrainResponse response;
    (void)cluster.cluster().Drain(&context, {}, &response);
  });
  EXPECT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.draining(); }));
  const pid_t coordinator = cluster.coordinator_pid();
  ASSERT_EQ(kill(coordinator, SIGTERM), 0);
  EXPECT_TRUE(WaitUntilGone(coordinator));
  drain.join();
  EXPECT_EQ(follower.Finish().status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

// The bundled model plans itself and counts as it writes.
class BundledModelDocuments : public Documents {
 protected:
  LocalCluster cluster_{std::string(LONGHAND_TEST_DATA) + "/../../demo/model",
                        {"--journal", (directory_ / "journal").string()}};
  static v1::WriteDocumentRequest Request(const std::string& id) {
    v1::WriteDocumentRequest request;
    request.set_request_id(id);
    request.set_instruction("Write a 600-word story about this picture.");
    request.add_images()->set_data(
        ReadBytes(std::string(LONGHAND_TEST_DATA) + "/../../demo/pictures/beach.png"));
    request.mutable_length()->set_target_words(600);
    request.mutable_sampling()->set_temperature(0);
    request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
    return request;
  }
};

TEST_F(BundledModelDocuments, HaveTheWordsThatWereAskedFor) {
  const Answer answer = Write(cluster_, Request("d"));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const v1::LengthReport& length = answer.events.back().length();
  EXPECT_EQ(length.target_words(), 600);
  EXPECT_NEAR(static_cast<double>(length.words()), 600, 18) << answer.text;
  EXPECT_GT(length.score(), 98);
}

TEST_F(BundledModelDocuments, AreTheSameAfterTheCoordinatorWasKilled) {
  const Answer undisturbed = Write(cluster_, Request("undisturbed"));
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  Follower follower(cluster_, Request("d"));
  follower.WaitFor(undisturbed.events.size() / 2);
  ASSERT_EQ(kill(cluster_.coordinator_pid(), SIGKILL), 0);
  ASSERT_LT(follower.Finish().events.size(), undisturbed.events.size());
  cluster_.GetStatus();  // It is back.
  const Answer answer = cluster_.Attach("d", 1);
  EXPECT_EQ(answer.text, undisturbed.text);
  EXPECT_EQ(EventsOf(answer), EventsOf(undisturbed));
}

}  // namespace
}  // namespace longhand::e2e
