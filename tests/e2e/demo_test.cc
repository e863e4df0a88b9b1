// `longhand demo`: a story for whoever runs it first, and nothing left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "tests/e2e/fake_generation.h"
#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kPicture = std::string(LONGHAND_TEST_DATA) + "/recording/images/photograph.jpg";

const std::string kPlan =
    "Section 1 - Main Point: the cat - Word Count: 3\n"
    "Section 2 - Main Point: the house - Word Count: 2";

TEST(Demo, ShowsPictureWishPlanAndCountedSections) {
  FakeGeneration server({kPlan, "One two three.", "And four."});
  const CommandResult result =
      RunLonghand({"demo", "--endpoint", server.address(), "--image", kPicture, "--words", "5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.substr(0, result.out.find("\n5 words in 2 sections; ")),
            "Picture  " + kPicture + ", 451 x 300\n" +
                "Wish     Write a 5-word story about this picture.\n"
                "\nPlan\n\n" +
                kPlan +
                "\n\nSection 1 - Main Point: the cat - Word Count: 3\n\nOne two three.\n\n" +
                "[section 1 of 2: 3 words, 3 asked for]\n" +
                "\nSection 2 - Main Point: the house - Word Count: 2\n\nAnd four.\n\n" +
                "[section 2 of 2: 2 words, 2 asked for]\n");
  EXPECT_THAT(result.out, HasSubstr(" tokens/s\n"));
  const v1::GenerateRequest request = server.requests().at(0);
  EXPECT_EQ(request.images_size(), 1);
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.6f);
}

TEST(Demo, AsksInChineseAndAnswersInJson) {
  FakeGeneration server({kPlan, "一二三。", "四五。"});
  const CommandResult result = RunLonghand({"demo", "--endpoint", server.address(), "--image",
                                            kPicture, "--words", "500", "--lang", "zh", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(R"("instruction":"看图写一篇500字的文章。")"));
  EXPECT_THAT(result.out, HasSubstr(R"("total_word_count":5})"));
  EXPECT_EQ(result.out.front(), '{');
}

TEST(Demo, SaysWhatIsMissing) {
  const CommandResult no_model = RunLonghand({"demo", "--image", kPicture, "--model", "/no/where"});
  EXPECT_EQ(no_model.exit_code, 1);
  EXPECT_THAT(no_model.err, HasSubstr("there is no model in /no/where"));
  const CommandResult no_picture = RunLonghand({"demo", "--image", "/no/such.png"});
  EXPECT_EQ(no_picture.exit_code, 1);
  EXPECT_THAT(no_picture.err, HasSubstr("/no/such.png"));
  EXPECT_EQ(RunLonghand({"demo", "--lang", "fr"}).exit_code, 2);
}

// Temporary files of everything that a test starts lie in a directory of its own, and the names of
// the workers' sockets in there are on their command lines.
class DemoCluster : public ::testing::Test {
 protected:
  DemoCluster() { setenv("TMPDIR", directory_.path().c_str(), 1); }
  ~DemoCluster() override { unsetenv("TMPDIR"); }

  std::vector<std::string> Arguments() const {
    return {"demo", "--model", TestCheckpointPath(), "--image", kPicture, "--seed", "1"};
  }

  std::vector<std::string> Processes() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "cmdline");
      const std::string line(std::istreambuf_iterator<char>(file), {});
      if (line.find(directory_.path().string()) != std::string::npos) found.push_back(line);
    }
    return found;
  }

  std::vector<std::filesystem::path> Files() const {
    return {std::filesystem::directory_iterator(directory_.path()), {}};
  }

  const testing::TempDirectory directory_;
};

// The text of random weights is noise, so no plan can be read.
TEST_F(DemoCluster, IsGoneAfterAFailure) {
  setenv("LONGHAND_MAX_MODEL_LEN", "1024", 1);
  const CommandResult result = RunLonghand(Arguments());
  unsetenv("LONGHAND_MAX_MODEL_LEN");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("Cluster  two ranks at 127.0.0.1:"));
  EXPECT_THAT(result.out, HasSubstr("; asking once more]"));
  EXPECT_THAT(result.err, HasSubstr("longhand demo: the plan cannot be read"));
  EXPECT_THAT(Processes(), IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(DemoCluster, ThatDoesNotStartSaysWhy) {
  const testing::TempDirectory broken;
  broken.Write("config.json", "{");
  const CommandResult result =
      RunLonghand({"demo", "--model", broken.path().string(), "--image", kPicture});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("the cluster did not start:\n"));
  EXPECT_THAT(result.err, HasSubstr("config.json"));
  EXPECT_THAT(Processes(), IsEmpty());
  EXPECT_THAT(Files(), ElementsAre(broken.path()));
}

TEST_F(DemoCluster, IsGoneAfterCtrlCWhileItWrites) {
  std::optional<RunningCommand> demo(Arguments());
  ASSERT_TRUE(demo->WaitForOutput("\nPlan\n"));
  EXPECT_FALSE(Processes().empty());
  demo->Signal(SIGINT);
  const CommandResult result = demo->Wait();
  demo.reset();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, Not(HasSubstr("asking once more")));  // The plan was not waited for.
  EXPECT_THAT(result.err, HasSubstr("longhand demo: interrupted; the cluster has ended\n"));
  EXPECT_THAT(Processes(), IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(DemoCluster, IsGoneAfterASignalWhileItStarts) {
  std::optional<RunningCommand> demo(Arguments());
  ASSERT_TRUE(demo->WaitForOutput("Model "));
  while (Processes().empty()) std::this_thread::yield();
  demo->Signal(SIGTERM);
  const CommandResult result = demo->Wait();
  demo.reset();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("interrupted"));
  EXPECT_THAT(Processes(), IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

// The same child, of another command.
TEST_F(DemoCluster, OfChaosIsGoneAfterCtrlC) {
  std::optional<RunningCommand> chaos(
      std::in_place, std::vector<std::string>{"chaos", "--model", TestCheckpointPath(),
                                              "--worker-kills", "100000"});
  while (Processes().size() < 4) std::this_thread::yield();
  chaos->Signal(SIGINT);
  const CommandResult result = chaos->Wait();
  chaos.reset();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("longhand chaos: interrupted"));
  EXPECT_THAT(Processes(), IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace longhand::e2e
