// What passes between the layers, and the logits, are the recorded ones: in fp32 closely, in bf16
// within what bf16 itself costs.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/parity/comparison.h"
#include "tests/parity/recorded_prompt.h"
#include "tests/parity/recording.h"
#include "tests/parity/step_driver.h"
#include "tests/parity/worker_group.h"

namespace longhand::parity {
namespace {

ModelConfig LoadConfig() {
  Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
  LONGHAND_CHECK(config.ok()) << config.status();
  return std::move(config).value();
}

std::unique_ptr<WorkerGroup> StartGroup(const ModelConfig& config, const GroupOptions& options) {
  Result<std::unique_ptr<WorkerGroup>> group = WorkerGroup::Create(config, options);
  LONGHAND_CHECK(group.ok()) << group.status();
  return std::move(group).value();
}

std::string DeepCase() {
  return std::string(TestRecording().notes().at("about").at("deep_case").as_string());
}

// The last `count` rows.
std::span<const float> Tail(const std::vector<float>& rows, int64_t count, int64_t width) {
  const auto size = static_cast<size_t>(count * width);
  LONGHAND_CHECK(rows.size() >= size) << rows.size() << " values, " << size << " wanted";
  return std::span(rows).last(size);
}

// backend, TP size
class ModelParity : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  std::unique_ptr<WorkerGroup> Start(DType dtype) const {
    return StartGroup(
        config_,
        {.backend = std::get<0>(GetParam()), .tp_size = std::get<1>(GetParam()), .dtype = dtype});
  }

  // States of all blocks and layers for one prompt, against those recorded under `prefix`.
  void CompareStates(DType dtype, const std::string& prefix, const Tolerance& tolerance) {
    const std::unique_ptr<WorkerGroup> group = Start(dtype);
    const RecordedPrompt prompt = LoadPrompt(recording_, DeepCase(), config_.image_token_id);
    const int64_t num_tail = recording_.Shape(prefix + "lm/logits_tail")[0];
    group->Observe(true);
    StepDriver(*group).Drive(prompt, {.num_new = 1, .num_logit_rows = num_tail});
    Observations seen = group->TakeObservations();

    std::vector<std::string> names = {"vit/patch_embed", "lm/embeds"};
    for (int64_t i = 0; i < config_.vision.depth; ++i) {
      names.push_back("vit/block" + std::to_string(i));
    }
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      names.push_back("lm/layer" + std::to_string(i));
    }
    for (const std::string& name : names) {
      EXPECT_TRUE(IsNear(recording_.Floats(prefix + name), seen[name], tolerance)) << name;
    }
    // These are made only where a token could be sampled.
    const std::vector<float> final_norm = recording_.Floats(prefix + "lm/final_norm");
    EXPECT_TRUE(IsNear(Tail(final_norm, num_tail, config_.hidden_size),
                       Tail(seen["lm/final_norm"], num_tail, config_.hidden_size), tolerance));
    EXPECT_TRUE(LogitsAreNear(recording_.Floats(prefix + "lm/logits_tail"),
                              Tail(seen["lm/logits"], num_tail, config_.vocab_size),
                              config_.vocab_size, tolerance));
  }

  // Logits along the recorded fp32 answer, whatever would have been sampled.
  void CompareForcedLogits(DType dtype, const std::string& prefix, const Tolerance& tolerance) {
    const std::unique_ptr<WorkerGroup> group = Start(dtype);
    const RecordedPrompt prompt = LoadPrompt(recording_, DeepCase(), config_.image_token_id);
    const std::vector<int32_t> ids = recording_.Ints("case/" + DeepCase() + "/greedy_ids");
    group->Observe(true);
    StepDriver(*group).Drive(prompt, {.num_new = static_cast<int64_t>(ids.size()), .forced = ids});
    const std::vector<float> seen = group->TakeObservations()["lm/logits"];
    const std::vector<float> expected = recording_.Floats(prefix + "lm/logits_forced");
    const int64_t num_rows = recording_.Shape(prefix + "lm/logits_forced")[0];
    const int64_t stride = (static_cast<int64_t>(ids.size()) + num_rows - 1) / num_rows;
    std::vector<float> actual;
    for (int64_t row = 0; row < num_rows; ++row) {
      const auto first = seen.begin() + row * stride * config_.vocab_size;
      actual.insert(actual.end(), first, first + config_.vocab_size);
    }
    EXPECT_TRUE(LogitsAreNear(expected, actual, config_.vocab_size, tolerance));
  }

  // Logits after each prompt, all prompts in turn.
  void CompareLastLogits(DType dtype, const std::string& prefix, const Tolerance& tolerance) {
    const std::unique_ptr<WorkerGroup> group = Start(dtype);
    StepDriver driver(*group);
    for (const std::string& name : recording_.CaseNames()) {
      group->Observe(true);
      driver.Drive(LoadPrompt(recording_, name, config_.image_token_id), {.num_new = 1});
      EXPECT_TRUE(LogitsAreNear(recording_.Floats(prefix + "case/" + name + "/logits_last"),
                                group->TakeObservations()["lm/logits"], config_.vocab_size,
                                tolerance))
          << name;
    }
  }

  const Recording& recording_ = TestRecording();
  const ModelConfig config_ = LoadConfig();
};

TEST_P(ModelParity, StatesInFp32AreTheRecordedOnes) { CompareStates(DType::kF32, "", kFp32); }

TEST_P(ModelParity, LogitsInFp32AreTheRecordedOnes) {
  CompareLastLogits(DType::kF32, "", kFp32);
  CompareForcedLogits(DType::kF32, "", kFp32);
}

TEST_P(ModelParity, StatesInBf16AreNearTheRecordedOnes) {
  if (!recording_.Has("bf16/lm/embeds")) GTEST_SKIP() << "recorded with --no-bfloat16";
  CompareStates(DType::kBf16, "bf16/", kBf16);
}

TEST_P(ModelParity, LogitsInBf16AreNearTheRecordedOnes) {
  if (!recording_.Has("bf16/lm/embeds")) GTEST_SKIP() << "recorded with --no-bfloat16";
  CompareLastLogits(DType::kBf16, "bf16/", kBf16);
  CompareForcedLogits(DType::kBf16, "bf16/", kBf16);
}

INSTANTIATE_TEST_SUITE_P(Backends,
                         ModelParity,
                         testing::Values(std::tuple("reference", 1),
                                         std::tuple("cpu", 1),
                                         std::tuple("cpu", 2),
                                         std::tuple("emulated", 1),
                                         std::tuple("emulated", 2)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "Tp" +
                                  std::to_string(std::get<1>(info.param));
                         });

// Half a prompt far from the other half: the angles of high positions, and YaRN's.
void CompareFarLogits(const ModelConfig& config, const std::string& rope) {
  const Recording& recording = TestRecording();
  const std::unique_ptr<WorkerGroup> group = StartGroup(config, {});
  StepDriver driver(*group);
  const RecordedPrompt prompt = LoadPrompt(recording, "image_middle", config.image_token_id);
  for (const int32_t gap : {0, 33000, 100000}) {
    group->Observe(true);
    driver.Drive(prompt, {.num_new = 1, .position_gap = gap});
    EXPECT_TRUE(
        LogitsAreNear(recording.Floats("rope/" + rope + "/logits_gap" + std::to_string(gap)),
                      group->TakeObservations()["lm/logits"], config.vocab_size, kFp32))
        << "gap " << gap;
  }
  const std::string answer = "rope/" + rope + "/greedy_ids";
  if (!recording.Has(answer)) return;
  const std::vector<int32_t> ids = recording.Ints(answer);
  group->Observe(false);
  EXPECT_EQ(driver.Drive(prompt, {.num_new = static_cast<int64_t>(ids.size())}).token_ids, ids);
}

TEST(RopeParity, LogitsOverLongDistancesAreTheRecordedOnes) {
  CompareFarLogits(LoadConfig(), "default");
}

TEST(RopeParity, LogitsWithYarnAreTheRecordedOnes) {
  ModelConfig config = LoadConfig();
  config.rope.yarn_factor = 4;
  config.rope.original_max_position_embeddings = 32768;
  CompareFarLogits(config, "yarn");
}

}  // namespace
}  // namespace longhand::parity
