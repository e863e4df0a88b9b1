// `longhand write`: plan, then sections, over the public API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <memory>
#include <thread>

#include "tests/e2e/fake_generation.h"
#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kPlan =
    "Section 1 - Main Point: the mill - Word Count: 3\n"
    "Section 2 - Main Point: 磨坊 - Word Count: 2";

CommandResult Write(FakeGeneration& server, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"write", "--endpoint", server.address()});
  return RunLonghand(flags);
}

std::string Prompt(const v1::GenerateRequest& request) {
  return request.messages().messages(0).content(0).text();
}

TEST(Write, StreamsTheSectionsWithABlankLineBetween) {
  FakeGeneration server({kPlan, "\nOne two\n\nthree. ", "磨坊。"});
  const CommandResult result = Write(server, {"--prompt", "Write 5 words."});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "One two\n\nthree.\n\n磨坊。\n");
  EXPECT_EQ(result.err, "");  // no terminal, no progress
}

TEST(Write, JsonEndsWithTheWholeDocument) {
  const testing::TempDirectory directory;
  const std::string first = directory.Write("a.png", "bytes of a").string();
  const std::string second = directory.Write("b.png", "bytes of b").string();
  FakeGeneration server({kPlan, "One two three.", "磨坊。"});
  const CommandResult result =
      Write(server, {"--json", "--prompt", "Write 5 words.", "--image", first, "--image", second});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto expected = boost::json::value{
      {"metadata",
       {{"instruction", "Write 5 words."}, {"image_paths", boost::json::array{first, second}}}},
      {"plan", kPlan},
      {"sections", boost::json::array{{{"section", kPlan.substr(0, kPlan.find('\n'))},
                                       {"response", "One two three."},
                                       {"word_count", 3}},
                                      {{"section", kPlan.substr(kPlan.find('\n') + 1)},
                                       {"response", "磨坊。"},
                                       {"word_count", 2}}}},
      {"total_word_count", 5}};
  EXPECT_EQ(boost::json::parse(result.out), expected) << result.out;
}

TEST(Write, EveryCallIsOneUserMessageWithTheTextBeforeThePictures) {
  const testing::TempDirectory directory;
  const std::string first = directory.Write("a.png", "bytes of a").string();
  const std::string second = directory.Write("b.png", "bytes of b").string();
  FakeGeneration server({kPlan, "One two three.", "磨坊。"});
  ASSERT_EQ(Write(server, {"--prompt", "Write 5 words.", "--image", first, "--image", second,
                           "--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "77"})
                .exit_code,
            0);
  const std::vector<v1::GenerateRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  for (const v1::GenerateRequest& request : requests) {
    ASSERT_EQ(request.messages().messages_size(), 1);
    const v1::ChatMessage& message = request.messages().messages(0);
    EXPECT_EQ(message.role(), "user");
    ASSERT_EQ(message.content_size(), 3);
    EXPECT_TRUE(message.content(0).has_text());
    EXPECT_TRUE(message.content(1).has_image());
    EXPECT_TRUE(message.content(2).has_image());
    ASSERT_EQ(request.images_size(), 2);
    EXPECT_EQ(request.images(0).data(), "bytes of a");
    EXPECT_EQ(request.images(1).data(), "bytes of b");
    EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.5f);
    EXPECT_FLOAT_EQ(request.sampling().top_p(), 0.9f);
    EXPECT_EQ(request.sampling().max_tokens(), 77);
    EXPECT_FALSE(request.sampling().has_seed());
    EXPECT_FALSE(request.sampling().has_top_k());
  }
  EXPECT_THAT(Prompt(requests[0]), StartsWith("You plan long texts."));
  EXPECT_THAT(Prompt(requests[2]), HasSubstr("Text so far:\nOne two three.\n"));
}

TEST(Write, WordsMakeTheInstruction) {
  const testing::TempDirectory directory;
  const std::string picture = directory.Write("a.png", "bytes").string();
  FakeGeneration server({kPlan, "a", "b", kPlan, "a", "b"});
  ASSERT_EQ(Write(server, {"--words", "500", "--image", picture}).exit_code, 0);
  EXPECT_THAT(Prompt(server.requests()[0]),
              HasSubstr("Instruction:\nWrite a 500-word story about this picture.\n"));
  ASSERT_EQ(Write(server, {"--words", "500", "--prompt", "It is about a mill."}).exit_code, 0);
  EXPECT_THAT(Prompt(server.requests()[3]),
              HasSubstr("Instruction:\nWrite a 500-word story. It is about a mill.\n"));
}

TEST(Write, APlanThatCannotBeReadIsAskedForAgainWithAnotherSeed) {
  FakeGeneration server({"Once upon a time", kPlan, "One", "Two"});
  const CommandResult result = Write(server, {"--prompt", "Write.", "--seed", "7"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "One\n\nTwo\n");
  EXPECT_THAT(result.err, HasSubstr("it begins with 'Once upon a time'; asking once more"));
  const std::vector<v1::GenerateRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(Prompt(requests[0]), Prompt(requests[1]));
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(requests[i].sampling().seed(), 7 + i);
}

TEST(Write, GreedyPlansAreAskedForOnce) {
  FakeGeneration server({"Once upon a time", kPlan});
  const CommandResult result = Write(server, {"--prompt", "Write.", "--temperature", "0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("longhand write: ABORTED: the plan cannot be read"));
  EXPECT_EQ(server.requests().size(), 1u);
}

// UNAVAILABLE, then nobody at the address, then another server.
TEST(Write, AServerThatComesBackGoesOnWithTheNextSection) {
  auto before = std::make_unique<FakeGeneration>(std::vector<std::string>{kPlan, "One two three."});
  const std::string address = before->address();
  RunningCommand command({"write", "--endpoint", address, "--prompt", "Write."});
  while (before->requests().size() < 3) std::this_thread::yield();
  before.reset();
  const FakeGeneration after({"磨坊。"}, address);
  const CommandResult result = command.Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "One two three.\n\n磨坊。\n");
}

TEST(Write, AServerThatGoesAwayLeavesWhatWasWritten) {
  FakeGeneration server({kPlan, "One two three."});
  const CommandResult result = Write(server, {"--prompt", "Write.", "--retry-for", "0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "One two three.\n");
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE: section 2 of 2: no more answers"));
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
  EXPECT_THAT(result.err, HasSubstr("asking once more"));
  EXPECT_THAT(result.err, HasSubstr("longhand write: ABORTED: the plan cannot be read"));
}

}  // namespace
}  // namespace longhand::e2e
