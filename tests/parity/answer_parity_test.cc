// Whole answers: 64 greedy tokens as recorded, at every TP size and chunk size, alone and in a
// ragged batch, and with the same bits whatever else the batch holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/parity/recorded_prompt.h"
#include "tests/parity/recording.h"
#include "tests/parity/step_driver.h"
#include "tests/parity/worker_group.h"

namespace longhand::parity {
namespace {

constexpr int64_t kChunkSizes[] = {16, 64, WorkerGroup::kMaxTokens};
// Below these, the best two logits are as near as two ways of summing are apart.
constexpr float kFp32Noise = 1e-3f;
constexpr float kBf16Noise = 0.35f;

// Equal up to the first step that noise could turn; what follows such a step is another text.
testing::AssertionResult SameAnswer(const std::vector<int32_t>& expected,
                                    const std::vector<float>& margins,
                                    const std::vector<int32_t>& actual,
                                    float noise) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " tokens, not " << expected.size();
  }
  for (size_t i = 0; i < expected.size() && margins[i] >= noise; ++i) {
    if (actual[i] != expected[i]) {
      return testing::AssertionFailure() << "token " << i << " is " << actual[i] << ", recorded "
                                         << expected[i] << " by " << margins[i];
    }
  }
  return testing::AssertionSuccess();
}

// TP size
class AnswerParity : public testing::TestWithParam<int> {
 protected:
  void Start(DType dtype) {
    Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
    ASSERT_TRUE(config.ok()) << config.status();
    Result<std::unique_ptr<WorkerGroup>> group =
        WorkerGroup::Create(*config, {.tp_size = GetParam(), .dtype = dtype});
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = std::move(group).value();
    driver_ = std::make_unique<StepDriver>(*group_);
    for (const std::string& name : recording_.CaseNames()) {
      prompts_.push_back(LoadPrompt(recording_, name, config->image_token_id));
    }
  }

  DriveOptions Greedy(int64_t chunk_tokens) const {
    const auto& about = recording_.notes().at("about").as_object();
    return {.num_new = about.at("new_tokens").as_int64(), .chunk_tokens = chunk_tokens};
  }

  void ExpectRecorded(const RecordedPrompt& prompt,
                      const Answer& answer,
                      const std::string& ids = "greedy_ids",
                      const std::string& margins = "greedy_margin") const {
    const std::string key = "case/" + prompt.name + "/";
    EXPECT_TRUE(SameAnswer(recording_.Ints(key + ids), recording_.Floats(key + margins),
                           answer.token_ids, kFp32Noise))
        << prompt.name;
  }

  const Recording& recording_ = TestRecording();
  std::unique_ptr<WorkerGroup> group_;
  std::unique_ptr<StepDriver> driver_;
  std::vector<RecordedPrompt> prompts_;
};

TEST_P(AnswerParity, EveryAnswerIsTheRecordedOneAtEveryChunkSize) {
  Start(DType::kF32);
  for (const RecordedPrompt& prompt : prompts_) {
    const std::vector<float> logprobs =
        recording_.Floats("case/" + prompt.name + "/greedy_logprobs");
    std::vector<Answer> answers;
    for (const int64_t chunk_tokens : kChunkSizes) {
      SCOPED_TRACE(testing::Message() << "chunks of " << chunk_tokens);
      answers.push_back(driver_->Drive(prompt, Greedy(chunk_tokens)));
      ExpectRecorded(prompt, answers.back());
      // To the bit, log-probabilities included.
      EXPECT_EQ(answers.back(), answers.front()) << prompt.name;
    }
    for (size_t i = 0; i < logprobs.size(); ++i) {
      if (answers[0].token_ids[i] != recording_.Ints("case/" + prompt.name + "/greedy_ids")[i])
        break;
      EXPECT_NEAR(answers[0].logprobs[i], logprobs[i], 1e-3) << prompt.name << " token " << i;
    }
  }
}

TEST_P(AnswerParity, RepetitionPenaltyGivesTheRecordedAnswers) {
  Start(DType::kF32);
  DriveOptions options = Greedy(WorkerGroup::kMaxTokens);
  options.sampling.repetition_penalty = 1.05f;
  for (const RecordedPrompt& prompt : prompts_) {
    const std::string margins = "case/" + prompt.name + "/greedy_margin_rep1.05";
    if (!recording_.Has(margins)) GTEST_SKIP() << "the recording has no " << margins;
    ExpectRecorded(prompt, driver_->Drive(prompt, options), "greedy_ids_rep1.05",
                   "greedy_margin_rep1.05");
  }
}

TEST_P(AnswerParity, ABatchOfEightGivesEachTheAnswerItHasAlone) {
  Start(DType::kF32);
  std::vector<RecordedPrompt> batch;
  for (const auto& name : recording_.notes().at("batch").at("cases").as_array()) {
    const auto found = std::find_if(prompts_.begin(), prompts_.end(), [&](const auto& prompt) {
      return prompt.name == std::string_view(name.as_string());
    });
    ASSERT_NE(found, prompts_.end());
    batch.push_back(*found);
  }
  std::vector<Answer> alone;
  for (const RecordedPrompt& prompt : batch) {
    alone.push_back(driver_->Drive(prompt, Greedy(WorkerGroup::kMaxTokens)));
  }
  for (const int64_t chunk_tokens : kChunkSizes) {
    SCOPED_TRACE(testing::Message() << "chunks of " << chunk_tokens);
    const std::vector<Answer> together = driver_->Drive(batch, Greedy(chunk_tokens));
    for (size_t i = 0; i < batch.size(); ++i) {
      ExpectRecorded(batch[i], together[i]);
      EXPECT_EQ(together[i], alone[i]) << batch[i].name;
    }
  }
}

TEST_P(AnswerParity, Bf16AnswersAreTheSameWhateverTheBatchAndTheChunks) {
  Start(DType::kBf16);
  std::vector<Answer> alone;
  for (const RecordedPrompt& prompt : prompts_) {
    alone.push_back(driver_->Drive(prompt, Greedy(WorkerGroup::kMaxTokens)));
    const std::string key = "case/" + prompt.name + "/";
    EXPECT_TRUE(SameAnswer(recording_.Ints(key + "greedy_ids"),
                           recording_.Floats(key + "greedy_margin"), alone.back().token_ids,
                           kBf16Noise))
        << prompt.name;
  }
  for (const int64_t chunk_tokens : kChunkSizes) {
    SCOPED_TRACE(testing::Message() << "chunks of " << chunk_tokens);
    EXPECT_EQ(driver_->Drive(prompts_, Greedy(chunk_tokens)), alone);
  }
}

TEST_P(AnswerParity, SampledAnswersAreTheSameWhateverTheBatchAndTheChunks) {
  Start(DType::kF32);
  DriveOptions options = Greedy(WorkerGroup::kMaxTokens);
  options.sampling = {.temperature = 0.9f,
                      .top_p = 0.95f,
                      .repetition_penalty = 1.1f,
                      .presence_penalty = 0.2f,
                      .seed = 11,
                      .num_logprobs = 0};
  std::vector<Answer> alone;
  for (const RecordedPrompt& prompt : prompts_) alone.push_back(driver_->Drive(prompt, options));
  EXPECT_NE(alone[0].token_ids, recording_.Ints("case/" + prompts_[0].name + "/greedy_ids"));
  for (const int64_t chunk_tokens : kChunkSizes) {
    SCOPED_TRACE(testing::Message() << "chunks of " << chunk_tokens);
    options.chunk_tokens = chunk_tokens;
    EXPECT_EQ(driver_->Drive(prompts_, options), alone);
  }
}

INSTANTIATE_TEST_SUITE_P(Tp, AnswerParity, testing::Values(1, 2, 4), [](const auto& info) {
  return std::to_string(info.param);
});

}  // namespace
}  // namespace longhand::parity
