// StepDriver: makes the plans that run recorded prompts to their answers: a scheduler of the
// plainest kind, so that the model is tested without the engine.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "common/sampling_params.h"
#include "common/step_plan.h"
#include "tests/parity/recorded_prompt.h"
#include "tests/parity/worker_group.h"

namespace longhand::parity {

struct DriveOptions {
  int64_t num_new = 0;                             // tokens of each answer
  int64_t chunk_tokens = WorkerGroup::kMaxTokens;  // of a step, all sequences together
  SamplingParams sampling = {.temperature = 0, .num_logprobs = 0};
  // Logits are made after each of the last so many tokens of a prompt.
  int64_t num_logit_rows = 1;
  // The answer goes on with these instead of what was sampled; for one prompt.
  std::vector<int32_t> forced;
  // Added to the positions of a prompt's second half and of its answer.
  int32_t position_gap = 0;
};

struct Answer {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;

  friend bool operator==(const Answer&, const Answer&) = default;
};

// Test thread. A step that fails ends the test program.
class StepDriver {
 public:
  explicit StepDriver(WorkerGroup& group);

  // All prompts in one batch, as far as a step's tokens allow.
  std::vector<Answer> Drive(std::span<const RecordedPrompt> prompts, const DriveOptions& options);
  Answer Drive(const RecordedPrompt& prompt, const DriveOptions& options) {
    return Drive(std::span(&prompt, 1), options).front();
  }

 private:
  struct Sequence {
    int64_t id = 0;
    const RecordedPrompt* prompt = nullptr;
    int64_t num_computed = 0;  // tokens in the KV cache
    std::vector<int32_t> blocks;
    Answer answer;

    int64_t prompt_len() const { return static_cast<int64_t>(prompt->token_ids.size()); }
  };
  // An image whose blocks have yet to run, on its rank.
  struct Encoding {
    ContentHash image{};
    int64_t cache_row = 0;
    int32_t next_layer = 0;
    int32_t adapter = -1;
  };

  Sequence Admit(const RecordedPrompt& prompt);
  StepPlan MakePlan(std::vector<Sequence>& sequences, const DriveOptions& options);
  void PlanEncodings(StepPlan& plan);
  bool ImagesAreReady(const RecordedPrompt& prompt) const;
  SequenceChunk MakeChunk(Sequence& sequence, int64_t num_tokens, const DriveOptions& options);
  void AddToken(const Sequence& sequence,
                int64_t index,
                const DriveOptions& options,
                SequenceChunk& chunk) const;
  void AddImageSpans(const Sequence& sequence, int64_t num_tokens, SequenceChunk& chunk) const;
  void GiveBlocks(Sequence& sequence, int64_t context_len, SequenceChunk& chunk);
  // Takes what was sampled after the end of each prompt.
  void Collect(const StepResult& result, std::vector<Sequence>& sequences);

  WorkerGroup& group_;
  int64_t next_sequence_id_ = 1;
  std::vector<int64_t> finished_;  // sequences that the next plan releases
  std::deque<int32_t> free_blocks_;
  // Of the images of this drive.
  std::vector<std::deque<Encoding>> encodings_;  // by rank
  std::map<ContentHash, int64_t> cache_rows_;
  int64_t next_cache_row_ = 0;
  std::set<ContentHash> encoded_;  // with the plan in the making
};

}  // namespace longhand::parity
