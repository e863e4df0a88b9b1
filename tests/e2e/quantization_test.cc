// Whole clusters with quantised weights: they answer, say beforehand what they take, and refuse
// what a checkpoint or a device cannot do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"
#include "tests/testing/temp_directory.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

// The AWQ checkpoint with the tokenizer of the other one, in a directory of its own.
class AwqDirectory {
 public:
  AwqDirectory() {
    const std::filesystem::path nano = TestCheckpointPath();
    for (const auto& file : std::filesystem::directory_iterator(nano)) {
      const std::string name = file.path().filename().string();
      if (name.starts_with("model") || name == "config.json") continue;
      std::filesystem::copy(file.path(), directory_.path());
    }
    const std::filesystem::path awq = nano.parent_path() / "nano-awq";
    for (const auto& file : std::filesystem::directory_iterator(awq)) {
      if (file.path().filename() == "dequantized.safetensors") continue;
      std::filesystem::copy(file.path(), directory_.path());
    }
  }
  std::string path() const { return directory_.path().string(); }

 private:
  testing::TempDirectory directory_;
};

std::vector<int64_t> PlannedBytes(const std::string& model, std::vector<std::string> flags) {
  std::vector<std::string> args = {"serve", "--model", model, "--dry-run", "--json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const CommandResult result = RunLonghand(args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string line = result.out.substr(result.out.rfind("{\"ranks\""));
  std::vector<int64_t> bytes;
  const boost::json::value plan = boost::json::parse(line);
  for (const auto& rank : plan.at("ranks").as_array()) {
    bytes.push_back(rank.at("weight_bytes").to_number<int64_t>());
  }
  return bytes;
}

struct Serving {
  const char* device;
  const char* quantization;  // "awq" is the AWQ checkpoint, without a flag
  const char* tp_size;
};

class QuantizationTest : public ::testing::TestWithParam<Serving> {};

TEST_P(QuantizationTest, AClusterAnswersAndTakesWhatTheDryRunSays) {
  const Serving& serving = GetParam();
  const AwqDirectory awq;
  const bool is_awq = std::string(serving.quantization) == "awq";
  const std::string model = is_awq ? awq.path() : TestCheckpointPath();
  std::vector<std::string> flags = {"--tp", serving.tp_size, "--dtype", "bfloat16"};
  if (!is_awq) flags.insert(flags.end(), {"--quantization", serving.quantization});
  const std::vector<int64_t> planned = PlannedBytes(model, flags);
  flags.insert(flags.end(), {"--device", serving.device, "--threads", "1", "--max-model-len",
                             "1024", "--max-num-seqs", "8"});
  LocalCluster cluster(model, flags);
  const Answer first = cluster.Generate(TextRequest("Write about a cat.", 12));
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_FALSE(first.token_ids.empty());
  EXPECT_EQ(cluster.Generate(TextRequest("Write about a cat.", 12)).token_ids, first.token_ids);
  const v1::GetStatusResponse status = cluster.GetStatus();
  std::vector<int64_t> loaded;
  for (const auto& rank : status.ranks()) loaded.push_back(rank.weight_bytes());
  EXPECT_EQ(loaded, planned);
}

INSTANTIATE_TEST_SUITE_P(Devices,
                         QuantizationTest,
                         ::testing::Values(Serving{"cpu", "int8", "2"},
                                           Serving{"cpu", "fp8", "1"},
                                           Serving{"cpu", "awq", "2"},
                                           Serving{"emulated", "fp8", "2"},
                                           Serving{"emulated", "awq", "1"}),
                         [](const auto& info) {
                           return std::string(info.param.device) + "_" + info.param.quantization +
                                  "_Tp" + info.param.tp_size;
                         });

void ExpectRefused(const std::string& model,
                   const std::vector<std::string>& flags,
                   const std::string& message) {
  std::vector<std::string> args = {"serve", "--model", model, "--dry-run"};
  args.insert(args.end(), flags.begin(), flags.end());
  const CommandResult result = RunLonghand(args);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err + result.out, HasSubstr(message));
}

TEST(QuantizationRefusals, WhatACheckpointOrADeviceCannotDoIsSaidAtOnce) {
  const AwqDirectory awq;
  ExpectRefused(TestCheckpointPath(), {"--quantization", "awq"},
                "--quantization is awq; the checkpoint's weights are not");
  ExpectRefused(awq.path(), {"--quantization", "fp8"}, "it must be auto or awq");
  ExpectRefused(awq.path(), {"--quantization", "none"}, "it must be auto or awq");
  ExpectRefused(TestCheckpointPath(), {"--quantization", "int8", "--device", "emulated"},
                "it must be auto, none, fp8 or awq");
  ExpectRefused(TestCheckpointPath(),
                {"--quantization", "fp8", "--device", "emulated", "--dtype", "float32"},
                "it must be bfloat16");
  const CommandResult result = RunLonghand({"serve", "--quantization", "int4"});
  EXPECT_EQ(result.exit_code, 2);
}

}  // namespace
}  // namespace longhand::e2e
