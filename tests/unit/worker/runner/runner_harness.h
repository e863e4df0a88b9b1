// What tests of the runner share: a tiny random model on disk, plans for whole answers, and groups
// whose ranks are threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/step_plan.h"
#include "kernels/ops.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"
#include "worker/runner/model_runner.h"

namespace longhand::runner {

// A checkpoint of testing::TinyConfig(), or with more layers, that lasts as long as the object.
class TinyCheckpoint {
 public:
  explicit TinyCheckpoint(uint32_t seed, int64_t num_layers = testing::TinyConfig().num_layers);
  // Room for 64 blocks of 4 tokens, 64 tokens a step, 8 sequences, and images of up to 64 patches.
  RunnerConfig Config() const;
  const testing::TempDirectory& directory() const { return directory_; }

 private:
  ModelConfig model_ = testing::TinyConfig();
  testing::TempDirectory directory_;
};

// "reference", "cpu" or "emulated".
std::unique_ptr<kernels::Ops> MakeOps(const std::string& backend);

// One answer: a prompt, then `num_new` sampled tokens.
struct Answer {
  int64_t sequence_id = 1;
  std::vector<int32_t> prompt;
  std::vector<int32_t> blocks;  // enough for prompt and answer
  SamplingParams sampling = {.temperature = 0, .num_logprobs = 2};
  std::vector<TokenBias> biases = {};
  std::vector<ImageSpan> images;  // offsets within the prompt
  int num_new = 6;
  std::vector<int32_t> suppressed = {};  // at the first num_suppressed positions
  int num_suppressed = 0;
};
Answer MakeAnswer(int64_t sequence_id, int prompt_len, int32_t first_block);

// Tokens [begin, end) of the answer's sequence; those behind the prompt are on the device. Blocks
// are given as they are needed.
SequenceChunk MakeChunk(const Answer& answer, int begin, int end);

// Plans that run the answers side by side, with at most `chunk` prompt tokens of each in a step.
// Steps are numbered from 1, in epoch 0.
std::vector<StepPlan> MakePlans(const std::vector<Answer>& answers, int chunk);

// Runs the plans on one rank; a failed step ends the test program.
std::vector<StepResult> RunAlone(ModelRunner& runner, const std::vector<StepPlan>& plans);
// The same on `tp_size` ranks, each a thread, with one image put on every rank first where
// `pixels` is not empty. Rank 0's results.
std::vector<StepResult> RunGroup(const RunnerConfig& config,
                                 int tp_size,
                                 const std::string& backend,
                                 const std::vector<StepPlan>& plans,
                                 const ContentHash& image = {},
                                 int32_t height = 0,
                                 int32_t width = 0,
                                 const std::vector<uint8_t>& pixels = {});

// What was sampled for a sequence, with log-probabilities: equal only when every bit is.
struct Sampled {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;
  friend bool operator==(const Sampled&, const Sampled&) = default;
};
Sampled SampledFor(int64_t sequence_id, const std::vector<StepResult>& results);

}  // namespace longhand::runner
