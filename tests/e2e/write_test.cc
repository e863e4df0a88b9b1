// `longhand write`: a document that the server writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <memory>
#include <mutex>
#include <thread>

#include "common/check.h"
#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

const std::string kFirstStep = "Section 1 - Main Point: the mill - Word Count: 3";
const std::string kSecondStep = "Section 2 - Main Point: 磨坊 - Word Count: 2";

// The events of one document, an event for every character.
class Script {
 public:
  Script() {
    v1::DocumentPlan* plan = Next().mutable_document()->mutable_plan();
    plan->set_text(kFirstStep + "\n" + kSecondStep);
    for (const std::string& step : {kFirstStep, kSecondStep}) plan->add_sections()->set_step(step);
    Section(1, "One two\n\nthree.", 3);
    Next().set_text("\n\n");
    Section(2, "磨坊。", 2);
    v1::GenerateEvent& last = Next();
    last.set_finish_reason(v1::FINISH_REASON_STOP);
    last.set_finish_detail("document_written");
  }

  std::vector<v1::GenerateEvent> events;

 private:
  v1::GenerateEvent& Next() {
    events.emplace_back().set_seq(static_cast<int64_t>(events.size()));
    return events.back();
  }
  void Section(int number, const std::string& text, int64_t num_words) {
    Next().mutable_document()->mutable_section_begin()->set_section(number);
    for (size_t begin = 0; begin < text.size();) {
      size_t end = begin + 1;
      while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;  // whole characters
      Next().set_text(text.substr(begin, end - begin));
      begin = end;
    }
    v1::SectionEnd* end = Next().mutable_document()->mutable_section_end();
    end->set_section(number);
    end->set_words(num_words);
  }
};

// Has one document, and stops with UNAVAILABLE after `num_events` of it.
class DocumentServer final : public v1::Generation::Service {
 public:
  explicit DocumentServer(size_t num_events = 1000, const std::string& address = "127.0.0.1:0")
      : num_events_(num_events) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    LONGHAND_CHECK(server_ != nullptr && port != 0);
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~DocumentServer() override { server_->Shutdown(); }

  const std::string& address() const { return address_; }
  v1::WriteDocumentRequest request() const {
    std::lock_guard lock(mutex_);
    return request_;
  }
  int num_attached() const { return num_attached_; }

  grpc::Status WriteDocument(grpc::ServerContext*,
                             const v1::WriteDocumentRequest* request,
                             grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    {
      std::lock_guard lock(mutex_);
      request_ = *request;
    }
    return Send(1, writer);
  }
  grpc::Status Attach(grpc::ServerContext*,
                      const v1::AttachRequest* request,
                      grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    ++num_attached_;
    return Send(static_cast<size_t>(request->from()), writer);
  }

 private:
  grpc::Status Send(size_t from, grpc::ServerWriter<v1::GenerateEvent>* writer) {
    const Script script;
    const size_t end = std::min(num_events_, script.events.size());
    for (size_t i = from - 1; i < end; ++i) writer->Write(script.events[i]);
    if (end == script.events.size()) return grpc::Status::OK;
    return {grpc::StatusCode::UNAVAILABLE, "no more events"};
  }

  const size_t num_events_;
  mutable std::mutex mutex_;
  v1::WriteDocumentRequest request_;
  std::atomic<int> num_attached_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// Of the text, in the first section.
constexpr size_t kEventsToOneTwo = 9;

CommandResult Write(DocumentServer& server, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"write", "--endpoint", server.address()});
  return RunLonghand(flags);
}

TEST(Write, StreamsTheSectionsWithABlankLineBetween) {
  DocumentServer server;
  const CommandResult result = Write(server, {"--prompt", "Write 5 words."});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "One two\n\nthree.\n\n磨坊。\n");
  EXPECT_EQ(result.err, "");  // no terminal, no progress
}

TEST(Write, JsonEndsWithTheWholeDocument) {
  const testing::TempDirectory directory;
  const std::string first = directory.Write("a.png", "bytes of a").string();
  const std::string second = directory.Write("b.png", "bytes of b").string();
  DocumentServer server;
  const CommandResult result =
      Write(server, {"--json", "--prompt", "Write 5 words.", "--image", first, "--image", second});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto expected = boost::json::value{
      {"metadata",
       {{"instruction", "Write 5 words."}, {"image_paths", boost::json::array{first, second}}}},
      {"plan", kFirstStep + "\n" + kSecondStep},
      {"sections",
       boost::json::array{
           {{"section", kFirstStep}, {"response", "One two\n\nthree."}, {"word_count", 3}},
           {{"section", kSecondStep}, {"response", "磨坊。"}, {"word_count", 2}}}},
      {"total_word_count", 5}};
  EXPECT_EQ(boost::json::parse(result.out), expected) << result.out;
}

TEST(Write, FlagsMakeTheRequest) {
  const testing::TempDirectory directory;
  const std::string picture = directory.Write("a.png", "bytes of a").string();
  DocumentServer server;
  ASSERT_EQ(Write(server, {"--prompt", "Write 5 words.", "--image", picture, "--temperature", "0.5",
                           "--top-p", "0.9", "--max-tokens", "77"})
                .exit_code,
            0);
  const v1::WriteDocumentRequest request = server.request();
  EXPECT_EQ(request.instruction(), "Write 5 words.");
  ASSERT_EQ(request.images_size(), 1);
  EXPECT_EQ(request.images(0).data(), "bytes of a");
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.5f);
  EXPECT_FLOAT_EQ(request.sampling().top_p(), 0.9f);
  EXPECT_EQ(request.sampling().max_tokens(), 77);
  EXPECT_FALSE(request.sampling().has_seed());
  EXPECT_FALSE(request.has_length());
  EXPECT_NE(request.request_id(), "");
  EXPECT_EQ(request.on_disconnect(), v1::ON_DISCONNECT_CONTINUE);
}

TEST(Write, WordsMakeTheInstructionAndTheTarget) {
  const testing::TempDirectory directory;
  const std::string picture = directory.Write("a.png", "bytes").string();
  DocumentServer server;
  ASSERT_EQ(Write(server, {"--words", "500", "--image", picture}).exit_code, 0);
  EXPECT_EQ(server.request().instruction(), "Write a 500-word story about this picture.");
  EXPECT_EQ(server.request().length().target_words(), 500);
  ASSERT_EQ(Write(server, {"--words", "500", "--prompt", "It is about a mill."}).exit_code, 0);
  EXPECT_EQ(server.request().instruction(), "Write a 500-word story. It is about a mill.");
}

// UNAVAILABLE, then nobody at the address, then another server.
TEST(Write, AServerThatComesBackGoesOnWithTheSection) {
  auto before = std::make_unique<DocumentServer>(kEventsToOneTwo);
  const std::string address = before->address();
  RunningCommand command({"write", "--endpoint", address, "--prompt", "Write."});
  while (before->num_attached() < 1) std::this_thread::yield();
  before.reset();
  const DocumentServer after(1000, address);
  const CommandResult result = command.Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "One two\n\nthree.\n\n磨坊。\n");
  EXPECT_EQ(after.request().instruction(), "");  // It was attached to.
}

TEST(Write, AServerThatGoesAwayLeavesWhatWasWritten) {
  DocumentServer server(kEventsToOneTwo);
  const CommandResult result = Write(server, {"--prompt", "Write.", "--retry-for", "0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "One two\n");
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE: no more events"));
}

TEST(Write, UsageErrorsExitWithTwoAndMissingPicturesWithOne) {
  const CommandResult nothing = RunLonghand({"write"});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("give --prompt, --words or both"));
  EXPECT_EQ(RunLonghand({"write", "--words", "0"}).exit_code, 2);
  EXPECT_EQ(RunLonghand({"write", "--words", "many"}).exit_code, 2);
  EXPECT_EQ(RunLonghand({"write", "--help"}).exit_code, 0);
  const CommandResult no_picture =
      RunLonghand({"write", "--words", "500", "--image", "/no/such.png"});
  EXPECT_EQ(no_picture.exit_code, 1);
  EXPECT_THAT(no_picture.err, HasSubstr("/no/such.png"));
}

// The text of random weights is noise, so its plans are too.
TEST(Write, NoiseIsNoPlan) {
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1"});
  const CommandResult result =
      RunLonghand({"write", "--endpoint", cluster.grpc_address(), "--words", "500", "--max-tokens",
                   "32", "--json", "--seed", "1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("longhand write: ABORTED: the plan cannot be read"));
}

}  // namespace
}  // namespace longhand::e2e
