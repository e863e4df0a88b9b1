// Whole clusters with quantised weights: they answer, say beforehand what they take, and refuse
// what a checkpoint or a device cannot do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "kernels/quantized_weight.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/near_ties.h"
#include "tests/e2e/requests.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"
#include "worker/model/checkpoint.h"
#include "worker/model/code_reader.h"
#include "worker/model/tensor_specs.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

// All of the checkpoint but its tensors and config.json.
void CopyTokenizer(const testing::TempDirectory& to) {
  for (const auto& file : std::filesystem::directory_iterator(TestCheckpointPath())) {
    const std::string name = file.path().filename().string();
    if (name.starts_with("model") || name == "config.json") continue;
    std::filesystem::copy(file.path(), to.path());
  }
}

// The AWQ checkpoint with the tokenizer of the other one, in a directory of its own.
class AwqDirectory {
 public:
  AwqDirectory() {
    CopyTokenizer(directory_);
    const std::filesystem::path awq =
        std::filesystem::path(TestCheckpointPath()).parent_path() / "nano-awq";
    for (const auto& file : std::filesystem::directory_iterator(awq)) {
      if (file.path().filename() == "dequantized.safetensors") continue;
      std::filesystem::copy(file.path(), directory_.path());
    }
  }
  std::string path() const { return directory_.path().string(); }

 private:
  testing::TempDirectory directory_;
};

// The checkpoint with its layers in FP8, as compressed-tensors keeps them: rounded beforehand as
// --quantization fp8 rounds them at load.
class Fp8Directory {
 public:
  Fp8Directory() {
    CopyTokenizer(directory_);
    const std::filesystem::path nano = TestCheckpointPath();
    boost::json::object json = boost::json::parse(ReadBytes(nano / "config.json")).as_object();
    json["quantization_config"] = boost::json::parse(R"({"quant_method": "compressed-tensors",
        "format": "float-quantized", "ignore": ["lm_head"], "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel",
        "symmetric": true, "dynamic": false}, "input_activations": {"num_bits": 8,
        "type": "float", "strategy": "token", "dynamic": true}}}})");
    directory_.Write("config.json", boost::json::serialize(json));
    const Result<ModelConfig> config = ModelConfig::Load(path());
    LONGHAND_CHECK(config.ok()) << config.status();
    const Result<model::Checkpoint> checkpoint = model::Checkpoint::Open(nano);
    LONGHAND_CHECK(checkpoint.ok()) << checkpoint.status();
    testing::TestTensors tensors;
    for (const auto& [name, tensor] : checkpoint->tensors()) {
      tensors[name] = {tensor.dtype, tensor.shape, std::string(tensor.data, tensor.num_bytes)};
    }
    for (const model::TensorSpec& spec : model::ExpectedTensors(*config)) {
      if (spec.dtype == DType::kF8E4M3) Round(spec.name, &tensors);
    }
    testing::WriteSafetensors(directory_ / "model.safetensors", tensors);
  }
  std::string path() const { return directory_.path().string(); }

 private:
  static void Round(const std::string& name, testing::TestTensors* tensors) {
    testing::TestTensor& weight = tensors->at(name);
    const std::vector<float> elements = testing::ToFloats(weight);
    const int64_t num_rows = weight.shape[0], width = weight.shape[1];
    std::vector<float> scales(static_cast<size_t>(num_rows));
    weight.dtype = DType::kF8E4M3;
    weight.bytes.resize(elements.size());
    for (int64_t row = 0; row < num_rows; ++row) {
      kernels::QuantizeFp8(elements.data() + row * width, width,
                           reinterpret_cast<uint8_t*>(weight.bytes.data() + row * width),
                           &scales[static_cast<size_t>(row)]);
    }
    (*tensors)[model::ScaleNameOf(name)] = {
        DType::kF32,
        {num_rows, 1},
        std::string(reinterpret_cast<const char*>(scales.data()), scales.size() * sizeof(float))};
  }

  testing::TempDirectory directory_;
};

GreedyAnswer AnswerOf(const std::string& model, const std::vector<std::string>& more) {
  std::vector<std::string> flags = {"--dtype",         "bfloat16", "--threads",      "1",
                                    "--max-model-len", "1024",     "--max-num-seqs", "8"};
  flags.insert(flags.end(), more.begin(), more.end());
  LocalCluster cluster(model, flags);
  return AskGreedily(cluster, TextRequest("Write about a cat.", 12));
}

// Equal to the last bit on one rank: log-probabilities are compared, too. On two, ranks round their
// own columns of o_proj and down_proj at load, and a checkpoint's scales are of whole rows.
TEST(Quantization, AnFp8CheckpointAnswersAsTheSameRoundingAtLoad) {
  const Fp8Directory fp8;
  for (const std::string device : {"cpu", "emulated"}) {
    const GreedyAnswer expected =
        AnswerOf(TestCheckpointPath(), {"--device", device, "--quantization", "fp8"});
    EXPECT_EQ(expected.token_ids.size(), 12u);
    EXPECT_EQ(AnswerOf(fp8.path(), {"--device", device}), expected) << device;
    EXPECT_NE(AnswerOf(TestCheckpointPath(), {"--device", device}), expected) << device;
  }
  EXPECT_TRUE(EqualButNearTies({AnswerOf(fp8.path(), {"--device", "emulated"})},
                               {AnswerOf(fp8.path(), {"--device", "emulated", "--tp", "2"})}));
}

TEST(Quantization, AwqByNameIsWhatAutoTakes) {
  const AwqDirectory awq;
  EXPECT_EQ(AnswerOf(awq.path(), {"--quantization", "awq"}),
            AnswerOf(awq.path(), {"--quantization", "auto"}));
}

// Weights and cache in fp8; ranks that exchange by kernels and ranks that exchange by TCP sum with
// the same bits.
TEST(Quantization, Fp8WeightsAndCacheHaveTheSameBitsWhicheverWayTwoRanksExchange) {
  const auto answer = [](const std::string& transport) {
    return AnswerOf(TestCheckpointPath(),
                    {"--device", "emulated", "--tp", "2", "--quantization", "fp8",
                     "--kv-cache-dtype", "fp8", "--transport", transport});
  };
  const GreedyAnswer by_kernels = answer("shared_memory");
  EXPECT_EQ(by_kernels.token_ids.size(), 12u);
  EXPECT_EQ(answer("gloo"), by_kernels);
}

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
