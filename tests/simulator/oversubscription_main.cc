// scheduler_oversubscription: how many answers run at once when the KV cache is a quarter of what
// 16 of them may need, beside a cache that holds them all. 64 answers wait for 16 places; a step
// takes no time here, so the figures are of the scheduler alone.
#include <cstdio>
#include <deque>
#include <random>
#include <unordered_map>

#include "coordinator/engine/scheduler.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

constexpr int64_t kNumAnswers = 64;
constexpr int64_t kNumPlaces = 16;
constexpr int64_t kPromptTokens = 32;
constexpr int64_t kMaxTokens = 400;
constexpr int32_t kBlockSize = 16;
constexpr int64_t kWholeBlocks = (kPromptTokens + kMaxTokens + kBlockSize - 1) / kBlockSize;

enum class Expectation { kWhole, kRight, kTooShort };

struct Figures {
  double mean_batch = 0;  // streams with a token in a step
  int64_t num_preemptions = 0;
  double recomputed = 0;  // tokens computed again, against those made
};

Figures Run(int64_t num_blocks, Expectation expectation, int64_t shortest, int64_t longest) {
  EngineConfig config;
  config.max_num_seqs = kNumPlaces;
  config.enable_prefix_caching = false;  // the prompts are one and the same
  config.max_model_len = kPromptTokens + kMaxTokens;
  Scheduler scheduler(
      config, {.num_blocks = num_blocks, .block_size = kBlockSize, .encoder_cache_tokens = 1}, 1);
  std::mt19937_64 random(1);
  std::unordered_map<int64_t, int64_t> lengths;
  for (int64_t id = 1; id <= kNumAnswers; ++id) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = id;
    sequence->request =
        std::make_shared<const Request>(MakeRequest(std::to_string(id), kPromptTokens, kMaxTokens));
    lengths[id] =
        shortest + static_cast<int64_t>(random() % static_cast<uint64_t>(longest - shortest + 1));
    sequence->expected_tokens = expectation == Expectation::kWhole   ? kMaxTokens
                                : expectation == Expectation::kRight ? lengths[id]
                                                                     : 1;
    scheduler.Add(std::move(sequence));
  }
  std::deque<StepPlan> in_flight;
  int64_t num_tokens = 0;
  int64_t num_steps = 0;
  while (!lengths.empty()) {
    while (scheduler.num_steps_in_flight() <= config.pipeline_depth) {
      Scheduler::Planned planned = scheduler.Plan();
      if (!planned.plan.has_value()) break;
      in_flight.push_back(std::move(*planned.plan));
    }
    StepResult result{.epoch = 1, .step = in_flight.front().step};
    for (const SequenceChunk& chunk : in_flight.front().chunks) {
      if (chunk.sample) result.sequences.push_back({chunk.sequence_id, {SampledToken{}}, {}});
    }
    in_flight.pop_front();
    ++num_steps;
    const Result<std::vector<Scheduler::Progress>> committed = scheduler.Commit(std::move(result));
    LONGHAND_CHECK(committed.ok()) << committed.status();
    for (const Scheduler::Progress& progress : *committed) {
      Sequence& sequence = *progress.sequence;
      sequence.output_token_ids.push_back(0);
      ++num_tokens;
      if (static_cast<int64_t>(sequence.output_token_ids.size()) < lengths.at(sequence.id))
        continue;
      lengths.erase(sequence.id);
      scheduler.Finish(sequence);
    }
  }
  return {.mean_batch = static_cast<double>(num_tokens) / static_cast<double>(num_steps),
          .num_preemptions = scheduler.num_preemptions(),
          .recomputed = static_cast<double>(scheduler.num_preempted_tokens()) /
                        static_cast<double>(num_tokens)};
}

void Print(const char* name, const Figures& figures) {
  std::printf("  %-42s %5.1f at once, %3ld preemptions, %4.1f%% computed again\n", name,
              figures.mean_batch, static_cast<long>(figures.num_preemptions),
              100 * figures.recomputed);
}

void Compare(const char* title, int64_t shortest, int64_t longest) {
  const int64_t all = kNumPlaces * kWholeBlocks;
  std::printf("%s\n", title);
  Print("a cache for all", Run(all, Expectation::kWhole, shortest, longest));
  Print("a quarter; whole answers promised", Run(all / 4, Expectation::kWhole, shortest, longest));
  Print("a quarter; the right length expected",
        Run(all / 4, Expectation::kRight, shortest, longest));
  Print("a quarter; one token expected", Run(all / 4, Expectation::kTooShort, shortest, longest));
}

}  // namespace
}  // namespace longhand::engine

int main() {
  longhand::engine::Compare("max_tokens 400, 50 to 100 are written", 50, 100);
  longhand::engine::Compare("max_tokens 400, 380 to 400 are written", 380, 400);
  return 0;
}
