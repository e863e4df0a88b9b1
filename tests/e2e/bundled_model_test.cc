// The bundled model through a cluster of two ranks: held-back worlds, exact answers. Greedy, so the
// figures are the same on every machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

const std::string kDemo = std::string(LONGHAND_TEST_DATA) + "/../../demo";

class BundledModel : public ::testing::Test {
 protected:
  // The shares that a script of demo/ prints.
  boost::json::object Check(const std::string& script, std::vector<std::string> flags) {
    std::vector<std::string> args = {
        "-B",     kDemo + "/" + script, "--endpoint",   cluster_.grpc_address(),
        "--json", "--binary",           LonghandPath(), "--temperature",
        "0"};
    args.insert(args.end(), flags.begin(), flags.end());
    const CommandResult result = RunningCommand(args, "/usr/bin/python3").Wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    RecordProperty("report", result.err);
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(result.out, error);
    EXPECT_FALSE(error) << result.out;
    return value.is_object() ? value.as_object() : boost::json::object{};
  }

  LocalCluster cluster_{kDemo + "/model", {"--tensor-parallel-size", "2"}};
};

TEST_F(BundledModel, SaysWhatItSeesAndKeepsTheLengthAskedFor) {
  const boost::json::object shares = Check("check.py", {"--seed", "5", "--count", "4"});
  for (const char* name :
       {"facts_right", "length_within_10pct", "plans_ok", "swapped_image_changes"}) {
    EXPECT_GE(shares.at(name).to_number<double>(), 0.75) << boost::json::serialize(shares);
  }
}

// About a picture each, in English and in Chinese.
TEST_F(BundledModel, WritesWholeDocumentsOfTheLengthAskedFor) {
  const boost::json::object figures =
      Check("check_documents.py", {"--seed", "5", "--count", "2", "--totals", "2000"});
  for (const char* name : {"documents_within_10pct", "sections_within_10pct", "plans_ok"}) {
    EXPECT_EQ(figures.at(name).to_number<double>(), 1) << boost::json::serialize(figures);
  }
  EXPECT_LT(figures.at("repeated_20_word_windows").to_number<double>(), 0.02)
      << boost::json::serialize(figures);
}

TEST(Demo, WritesAStoryAboutItsOwnPicture) {
  const CommandResult result = RunLonghand({"demo", "--words", "500", "--temperature", "0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Section 1 - Main Point: "));
  EXPECT_THAT(result.out, HasSubstr(" tokens/s\n"));
}

}  // namespace
}  // namespace longhand::e2e
