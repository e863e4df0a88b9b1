// Adapters: greedy tokens as PEFT's, at several TP sizes; and each request of a batch of adapters
// and none has the answer that it has alone, to the bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/parity/recorded_prompt.h"
#include "tests/parity/recording.h"
#include "tests/parity/step_driver.h"
#include "tests/parity/worker_group.h"

namespace longhand::parity {
namespace {

namespace json = boost::json;

constexpr int64_t kChunkSizes[] = {16, WorkerGroup::kMaxTokens};

std::filesystem::path AdapterDirectory(const std::string& name) {
  return TestCheckpoint().parent_path() / "adapters" / name;
}

json::object AdapterRecording() {
  std::ifstream file(AdapterDirectory("recording.json"));
  std::stringstream text;
  text << file.rdbuf();
  return json::parse(text.str()).as_object();
}

struct Group {
  std::string backend;
  int tp_size = 1;
};

class AdapterParity : public testing::TestWithParam<Group> {
 protected:
  void Start(DType dtype, Quantization quantization = Quantization::kNone) {
    Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
    ASSERT_TRUE(config.ok()) << config.status();
    image_token_id_ = config->image_token_id;
    Result<std::unique_ptr<WorkerGroup>> group =
        WorkerGroup::Create(*config, {.backend = GetParam().backend,
                                      .tp_size = GetParam().tp_size,
                                      .quantization = quantization,
                                      .dtype = dtype,
                                      .max_loras = 3});
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = std::move(group).value();
    driver_ = std::make_unique<StepDriver>(*group_);
    for (const char* name : {"text", "eyes"}) {
      const Status loaded = group_->LoadAdapter(Slot(name), AdapterDirectory(name));
      ASSERT_TRUE(loaded.ok()) << loaded;
    }
  }

  // The emulation is slow.
  static int64_t MaxNew() { return GetParam().backend == "emulated" ? 6 : 64; }

  static int32_t Slot(const std::string& name) { return name == "text" ? 2 : 0; }

  RecordedPrompt Prompt(const std::string& name, const std::string& adapter) const {
    RecordedPrompt prompt = LoadPrompt(recording_, name, image_token_id_);
    if (adapter.empty()) return prompt;
    prompt.adapter = Slot(adapter);
    for (RecordedImage& image : prompt.images) {
      if (adapter != "eyes") break;
      image.adapter = prompt.adapter;
      image.hash[0] ^= 1;
    }
    return prompt;
  }

  std::vector<RecordedPrompt> Mixed() const {
    return {Prompt("one_image", ""),     Prompt("one_image", "eyes"),
            Prompt("one_image", "text"), Prompt("text_short", "text"),
            Prompt("text_short", ""),    Prompt("text_short", "eyes")};
  }

  const Recording& recording_ = TestRecording();
  int32_t image_token_id_ = 0;
  std::unique_ptr<WorkerGroup> group_;
  std::unique_ptr<StepDriver> driver_;
};

TEST_P(AdapterParity, AnswersAreThoseOfPeftAtEveryChunkSize) {
  Start(DType::kF32);
  for (const auto& [adapter, recorded] : AdapterRecording()) {
    for (const auto& [name, answer] : recorded.at("cases").as_object()) {
      const RecordedPrompt prompt = Prompt(name, adapter);
      auto ids = json::value_to<std::vector<int32_t>>(answer.at("greedy_ids"));
      ids.resize(std::min(ids.size(), static_cast<size_t>(MaxNew())));
      for (const int64_t chunk_tokens : kChunkSizes) {
        const Answer ours =
            driver_->Drive(prompt, {.num_new = std::ssize(ids), .chunk_tokens = chunk_tokens});
        EXPECT_EQ(ours.token_ids, ids)
            << adapter << " " << name << " in chunks of " << chunk_tokens;
      }
      auto base = recording_.Ints("case/" + std::string(name) + "/greedy_ids");
      base.resize(ids.size());
      EXPECT_NE(ids, base);
    }
  }
}

TEST_P(AdapterParity, ABatchOfAdaptersAndNoneGivesEachTheAnswerItHasAlone) {
  const int64_t num_new = std::min<int64_t>(12, MaxNew());
  for (const auto& [dtype, quantization] :
       {std::pair(DType::kF32, Quantization::kNone), std::pair(DType::kBf16, Quantization::kNone),
        std::pair(DType::kBf16, Quantization::kFp8)}) {
    Start(dtype, quantization);
    std::vector<Answer> alone;
    for (const RecordedPrompt& prompt : Mixed())
      alone.push_back(driver_->Drive(prompt, {.num_new = num_new}));
    for (const int64_t chunk_tokens : kChunkSizes) {
      SCOPED_TRACE(testing::Message()
                   << DTypeName(dtype) << ", quantization " << static_cast<int>(quantization)
                   << ", chunks of " << chunk_tokens);
      EXPECT_EQ(driver_->Drive(Mixed(), {.num_new = num_new, .chunk_tokens = chunk_tokens}), alone);
    }
    EXPECT_NE(alone[0], alone[1]);
    EXPECT_NE(alone[0], alone[2]);
  }
}

TEST_P(AdapterParity, ASlotThatIsLoadedAgainHoldsNothingOfWhatItHeld) {
  Start(DType::kF32);
  const RecordedPrompt prompt = Prompt("one_image", "text");
  const Answer before = driver_->Drive(prompt, {.num_new = 16});
  ASSERT_TRUE(group_->LoadAdapter(Slot("text"), AdapterDirectory("eyes")).ok());
  ASSERT_TRUE(group_->LoadAdapter(Slot("text"), AdapterDirectory("text")).ok());
  EXPECT_EQ(driver_->Drive(prompt, {.num_new = 16}), before);
}

TEST_P(AdapterParity, ASlotWithoutAnAdapterIsRefused) {
  Start(DType::kF32);
  StepPlan plan;
  plan.chunks.push_back({.sequence_id = 1,
                         .token_ids = {1},
                         .positions = {0, 0, 0},
                         .new_block_ids = {0},
                         .start = {SequenceStart{.adapter = 1}}});
  const Result<StepResult> result = group_->Execute(plan);
  EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition) << result.status();
}

INSTANTIATE_TEST_SUITE_P(Groups,
                         AdapterParity,
                         testing::Values(Group{"cpu", 1}, Group{"cpu", 2}, Group{"emulated", 1}),
                         [](const auto& info) {
                           return info.param.backend + std::to_string(info.param.tp_size);
                         });

}  // namespace
}  // namespace longhand::parity
