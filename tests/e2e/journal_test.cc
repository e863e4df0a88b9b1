// What a restart finds in the journal, and disks that do not answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "client/chaos/chaos.h"
#include "coordinator/journal/store.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using client::Comparable;

using ::testing::HasSubstr;

std::vector<std::string> WithJournal(const std::string& directory,
                                     std::vector<std::string> more = {}) {
  std::vector<std::string> flags = {"--tp", "2", "--threads", "1", "--journal", directory};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

std::vector<std::string> EventsOf(const Answer& answer) {
  std::vector<std::string> events;
  for (const v1::GenerateEvent& event : answer.events) events.push_back(Comparable(event));
  return events;
}

// Follows a request on a thread of its own.
class Follower {
 public:
  Follower(LocalCluster& cluster, const v1::GenerateRequest& request)
      : thread_([&cluster, request, this] {
          grpc::ClientContext context;
          const auto reader = cluster.generation().Generate(&context, request);
          for (v1::GenerateEvent event; reader->Read(&event); ++num_seen_)
            answer_.events.push_back(event);
          answer_.status = reader->Finish();
        }) {}
  size_t num_seen() const { return num_seen_; }
  const Answer& Finish() {
    thread_.join();
    return answer_;
  }

 private:
  std::atomic<size_t> num_seen_ = 0;
  Answer answer_;
  std::thread thread_;
};

TEST(Journal, AnAnswerAboutPicturesGoesOnAfterACrash) {
  const testing::TempDirectory directory;
  LocalCluster cluster(TestCheckpointPath(), WithJournal((directory / "journal").string()));
  const parity::Recording& recording = parity::TestRecording();
  std::string name;
  for (const std::string& each : recording.CaseNames()) {
    if (!recording.CaseImages(each).empty()) name = each;
  }
  ASSERT_NE(name, "");
  v1::GenerateRequest request = RecordedRequest(recording, name, 600);
  for (int32_t id = 300; id < 400; ++id)
    (*request.mutable_sampling()->mutable_logit_bias())[id] = 0.1f * static_cast<float>(id - 340);
  const Answer undisturbed = cluster.Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  request.set_request_id("pictured");
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  Follower follower(cluster, request);
  while (follower.num_seen() < 3) std::this_thread::yield();
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  const Answer& beginning = follower.Finish();
  EXPECT_EQ(beginning.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_LT(beginning.events.size(), undisturbed.events.size());
  cluster.GetStatus();  // It is back.
  EXPECT_EQ(EventsOf(cluster.Attach("pictured", 1)), EventsOf(undisturbed));
}

// The name is the same, and one bit of one weight is not.
TEST(Journal, AnotherCheckpointOfTheSameNameDoesNotGoOnWithARequest) {
  const testing::TempDirectory directory;
  const std::string journal = (directory / "journal").string();
  const std::filesystem::path copy = directory / "copy/nano";
  std::filesystem::create_directories(copy.parent_path());
  std::filesystem::copy(TestCheckpointPath(), copy, std::filesystem::copy_options::recursive);
  v1::GenerateRequest request = TextRequest("Whose text?", 100000);
  request.set_request_id("other");
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  for (const bool is_changed : {false, true}) {
    if (is_changed) {
      const std::filesystem::path file = copy / "model-00002-of-00002.safetensors";
      std::string bytes = ReadBytes(file.string());
      bytes[bytes.size() - 2] ^= 1;
      std::ofstream(file, std::ios::binary) << bytes;
    }
    LocalCluster cluster(copy.string(), WithJournal(journal, {"--shutdown-timeout", "0"}));
    if (!is_changed) {
      Follower follower(cluster, request);
      while (follower.num_seen() < 3) std::this_thread::yield();
      EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
      follower.Finish();
      continue;
    }
    const Answer answer = cluster.Attach("other", 1);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(answer.status.error_message(),
                HasSubstr("begun by another checkpoint that was served as 'nano'"));
    EXPECT_GE(answer.events.size(), 3u);
  }
}

// A coordinator that was killed may not have let go of it yet.
Result<std::unique_ptr<journal::Store>> OpenStore(const std::string& journal) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    Result<std::unique_ptr<journal::Store>> store =
        journal::Store::Open(journal, journal::Sync::kProcess);
    EXPECT_TRUE(store.ok() || store.status().code() == StatusCode::kFailedPrecondition)
        << store.status();
    if (store.ok() || std::chrono::steady_clock::now() > deadline) return store;
    std::this_thread::yield();
  }
}

// How often each that is unfinished there was taken up in vain. While nobody has the journal open.
std::map<std::string, int32_t> AttemptsIn(const std::string& journal) {
  const auto store = OpenStore(journal);
  std::map<std::string, int32_t> attempts;
  for (const journal::StoredRequest& request : (*store)->TakeUnfinished())
    attempts[request.request_id] = request.attempts;
  return attempts;
}

void SetAttempts(const std::string& journal, const std::map<std::string, int32_t>& attempts) {
  const auto store = OpenStore(journal);
  ASSERT_TRUE(store.ok()) << store.status();
  std::vector<journal::Entry> entries;
  for (const auto& [id, count] : attempts) entries.emplace_back(journal::AttemptEntry{id, count});
  const Status written = (*store)->Write(entries, journal::WallTime());
  ASSERT_TRUE(written.ok()) << written;
}

// Three answers that a death has cut off, with what they would have been. The third ends when its
// client leaves.
class CutOff : public ::testing::Test {
 protected:
  CutOff() {
    request_.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
    LocalCluster cluster(TestCheckpointPath(), WithJournal(journal_));
    undisturbed_ = cluster.Generate(request_);
    std::vector<std::unique_ptr<Follower>> followers;
    for (const char* id : {"first", "second"}) {
      request_.set_request_id(id);
      followers.push_back(std::make_unique<Follower>(cluster, request_));
      while (followers.back()->num_seen() < 3) std::this_thread::yield();
    }
    v1::GenerateRequest left = request_;
    left.set_request_id("left");
    left.clear_on_disconnect();
    followers.push_back(std::make_unique<Follower>(cluster, left));
    while (followers.back()->num_seen() < 3) std::this_thread::yield();
    EXPECT_EQ(cluster.StopWith(SIGKILL), 128 + SIGKILL);
    for (const auto& follower : followers) follower->Finish();
  }

  const testing::TempDirectory directory_;
  const std::string journal_ = (directory_ / "journal").string();
  v1::GenerateRequest request_ = TextRequest("Same text?", 2000);
  Answer undisturbed_;
};

TEST_F(CutOff, ARequestThatEndsCoordinatorsIsGivenUpAlone) {
  SetAttempts(journal_, {{"first", 3}, {"second", 2}});
  LocalCluster cluster(TestCheckpointPath(), WithJournal(journal_));
  const Answer given_up = cluster.Attach("first", 1);
  EXPECT_EQ(given_up.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(given_up.status.error_message(), HasSubstr("it is not tried any more"));
  const Answer answer = cluster.Attach("second", 1);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(EventsOf(answer), EventsOf(undisturbed_));
}

// One without workers computes nothing: the first notes that both were there, the second nothing.
TEST_F(CutOff, NoRequestIsSuspectedOfTheEndOfCoordinatorsThatNeverHadAGroup) {
  for (int death = 0; death < 2; ++death) {
    RunningCommand coordinator(
        {"--model", TestCheckpointPath(), "--workers", "unix:/no/such/worker", "--http-address",
         "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
         "--journal", journal_},
        LonghandPath() + "-coordinator");
    ASSERT_TRUE(coordinator.WaitForOutput("silent_worker")) << coordinator.Output();
    coordinator.Signal(SIGKILL);
    EXPECT_EQ(coordinator.Wait().exit_code, 128 + SIGKILL);
  }
  for (const auto& [id, attempts] : AttemptsIn(journal_)) EXPECT_LE(attempts, 1) << id;
  LocalCluster cluster(TestCheckpointPath(), WithJournal(journal_));
  for (const char* id : {"first", "second"}) {
    const Answer answer = cluster.Attach(id, 1);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(EventsOf(answer), EventsOf(undisturbed_)) << id;
  }
}

// A coordinator without workers, which takes up nobody who is tried alone.
class Workerless {
 public:
  explicit Workerless(const std::string& journal)
      : command_(
            {"--model", TestCheckpointPath(), "--workers", "unix:/no/such/worker", "--http-address",
             "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
             "--journal", journal, "--shutdown-timeout", "0"},
            LonghandPath() + "-coordinator") {
    EXPECT_TRUE(command_.WaitForOutput("\"grpc\"")) << command_.Output();
    const std::string mark = "\"grpc\":\"", output = command_.Output();
    const size_t at = output.find(mark) + mark.size();
    generation_ = v1::Generation::NewStub(grpc::CreateChannel(
        output.substr(at, output.find('"', at) - at), grpc::InsecureChannelCredentials()));
  }
  ~Workerless() {
    command_.Signal(SIGTERM);
    command_.Wait();
  }

  grpc::Status Cancel(const std::string& request_id) {
    grpc::ClientContext context;
    v1::CancelRequest request;
    request.set_request_id(request_id);
    v1::CancelResponse response;
    return generation_->Cancel(&context, request, &response);
  }
  // Reads the answer to its end, or until the deadline.
  grpc::Status Attach(const std::string& request_id,
                      std::chrono::milliseconds patience = kPatience) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + patience);
    v1::AttachRequest request;
    request.set_request_id(request_id);
    const auto reader = generation_->Attach(&context, request);
    for (v1::GenerateEvent event; reader->Read(&event);) {
    }
    return reader->Finish();
  }

 private:
  RunningCommand command_;
  std::unique_ptr<v1::Generation::Stub> generation_;
};

TEST_F(CutOff, WhoWaitsToBeTriedAloneIsEndedLikeAnyOther) {
  SetAttempts(journal_, {{"first", 2}, {"second", 1}, {"left", 1}});
  {
    Workerless coordinator(journal_);
    EXPECT_EQ(coordinator.Cancel("unknown").error_code(), grpc::StatusCode::NOT_FOUND);
    const grpc::Status cancelled = coordinator.Cancel("first");
    EXPECT_TRUE(cancelled.ok()) << cancelled.error_message();
    EXPECT_EQ(coordinator.Attach("first").error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_EQ(coordinator.Cancel("first").error_code(), grpc::StatusCode::NOT_FOUND);
    // Its client's patience ends, and the client leaves. Who comes back before the server knows of
    // that finds the answer still there, and leaves again.
    constexpr std::chrono::milliseconds kShort(500);
    grpc::Status left = coordinator.Attach("left", kShort);
    EXPECT_EQ(left.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    for (int i = 0; i < 20 && left.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED; ++i)
      left = coordinator.Attach("left", kShort);
    EXPECT_EQ(left.error_code(), grpc::StatusCode::CANCELLED);
  }
  LocalCluster cluster(TestCheckpointPath(), WithJournal(journal_));
  for (const char* id : {"first", "left"}) {
    const Answer answer = cluster.Attach(id, 1);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::CANCELLED) << id;
    EXPECT_LT(answer.events.size(), undisturbed_.events.size()) << id;
  }
  EXPECT_EQ(EventsOf(cluster.Attach("second", 1)), EventsOf(undisturbed_));
}

// Also when the server was told to stop before their turn came.
TEST_F(CutOff, DrainingWaitsForThoseThatAreTriedAlone) {
  SetAttempts(journal_, {{"first", 1}, {"second", 1}, {"left", 1}});
  {
    LocalCluster cluster(TestCheckpointPath(),
                         WithJournal(journal_, {"--shutdown-timeout", "100"}));
    EXPECT_EQ(cluster.StopWith(SIGTERM), 0);
  }
  EXPECT_TRUE(AttemptsIn(journal_).empty());
}

// The coordinator's writes to the journal hang while a file exists.
class HangingDisk : public ::testing::Test {
 protected:
  HangingDisk() {
    setenv("LONGHAND_TEST_HANG", hang_.c_str(), 1);
    setenv("LD_PRELOAD", LONGHAND_HANGING_DISK, 1);
  }
  ~HangingDisk() override {
    unsetenv("LD_PRELOAD");
    unsetenv("LONGHAND_TEST_HANG");
  }
  std::unique_ptr<LocalCluster> Start(const std::string& sync) {
    auto cluster = std::make_unique<LocalCluster>(
        TestCheckpointPath(), WithJournal((directory_ / sync).string(), {"--journal-sync", sync}));
    unsetenv("LD_PRELOAD");  // Not into the next program.
    return cluster;
  }
  void Hang(const std::string& what) { std::ofstream(hang_ + what) << "now"; }
  void Answer(const std::string& what) { std::filesystem::remove(hang_ + what); }
  // In the midst of the answer that is followed; a new request is refused then.
  void HangUnder(Follower& follower,
                 const std::string& what,
                 LocalCluster& cluster,
                 e2e::Answer* refused) {
    while (follower.num_seen() < 3) std::this_thread::yield();
    Hang(what);
    ASSERT_TRUE(cluster.WaitForStatus([](const auto& s) { return s.phase() == "journal"; }));
    *refused = cluster.Generate(TextRequest("Any room?", 4));
    EXPECT_EQ(refused->status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }

  const testing::TempDirectory directory_;
  const std::string hang_ = (directory_ / "hang").string();
};

TEST_F(HangingDisk, AdmissionEndsAndStreamsStallAndGoOnByThemselves) {
  const auto cluster = Start("process");
  v1::GenerateRequest request = TextRequest("Same text?", 1500);
  const e2e::Answer undisturbed = cluster->Generate(request);
  request.set_request_id("stalls");
  Follower follower(*cluster, request);
  e2e::Answer refused;
  ASSERT_NO_FATAL_FAILURE(HangUnder(follower, ".write", *cluster, &refused));
  EXPECT_THAT(refused.status.error_message(), HasSubstr("the disk has not answered for"));
  const size_t num_stalled = follower.num_seen();
  EXPECT_LT(num_stalled, undisturbed.events.size());
  ASSERT_TRUE(cluster->WaitForStatus([steps = int64_t{-1}](const auto& s) mutable {
    return std::exchange(steps, s.steps()) == s.steps();  // The engine stands still, too.
  }));
  EXPECT_EQ(follower.num_seen(), num_stalled);
  Answer(".write");
  const e2e::Answer& answer = follower.Finish();
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(EventsOf(answer), EventsOf(undisturbed));
  EXPECT_TRUE(cluster->WaitForStatus([](const auto& s) { return s.ready(); }));
}

TEST_F(HangingDisk, AnInputOrOutputErrorIsWaitedFor) {
  const auto cluster = Start("process");
  v1::GenerateRequest request = TextRequest("Same text?", 1500);
  const e2e::Answer undisturbed = cluster->Generate(request);
  request.set_request_id("stalls");
  Follower follower(*cluster, request);
  e2e::Answer refused;
  ASSERT_NO_FATAL_FAILURE(HangUnder(follower, ".fail", *cluster, &refused));
  EXPECT_THAT(refused.status.error_message(),
              HasSubstr("requests cannot be kept now: the journal: disk I/O error"));
  Answer(".fail");
  EXPECT_EQ(EventsOf(follower.Finish()), EventsOf(undisturbed));
  EXPECT_TRUE(cluster->WaitForStatus([](const auto& s) { return s.ready(); }));
}

// With --journal-sync disk no token is seen before the device has it; else nothing waits for that.
TEST_F(HangingDisk, TokensWaitForTheDeviceWhereTheyMustSurviveThePower) {
  v1::GenerateRequest request = TextRequest("Same text?", 60);
  const auto disk = Start("disk");
  const e2e::Answer undisturbed = disk->Generate(request);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  Hang(".sync");
  request.set_request_id("waits");
  Follower follower(*disk, request);
  ASSERT_TRUE(disk->WaitForStatus([](const auto& s) { return s.phase() == "journal"; }));
  EXPECT_EQ(follower.num_seen(), 0u);
  Answer(".sync");
  EXPECT_EQ(EventsOf(follower.Finish()), EventsOf(undisturbed));
}

}  // namespace
}  // namespace longhand::e2e
