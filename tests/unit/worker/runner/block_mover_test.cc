#include "worker/runner/block_mover.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

constexpr uint32_t kSeed = 31;

// Backend, KV dtype.
class BlockMoverTest : public ::testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  RunnerConfig Config() const {
    RunnerConfig config = checkpoint_.Config();
    config.kv_dtype = std::get<1>(GetParam());
    config.num_host_blocks = 8;
    return config;
  }
  std::unique_ptr<ModelRunner> MakeRunner() {
    auto runner = ModelRunner::Create(Config(), *ops_, communicator_, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    return std::move(runner).value();
  }
  Sampled Run(const std::vector<StepPlan>& plans, int64_t sequence_id) {
    return SampledFor(sequence_id, RunAlone(*MakeRunner(), plans));
  }

  const TinyCheckpoint checkpoint_{kSeed};
  const std::unique_ptr<kernels::Ops> ops_ = MakeOps(std::get<0>(GetParam()));
  comm::SingleRankCommunicator communicator_;
};

INSTANTIATE_TEST_SUITE_P(Backends,
                         BlockMoverTest,
                         ::testing::Values(std::tuple("reference", DType::kI8),
                                           std::tuple("cpu", DType::kF32),
                                           std::tuple("cpu", DType::kI8),
                                           std::tuple("emulated", DType::kF8E4M3)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  std::string(DTypeName(std::get<1>(info.param)));
                         });

// The table of a sequence from here on.
void GiveTable(const std::vector<int32_t>& blocks, size_t count, SequenceChunk* chunk) {
  chunk->first_block_idx = 0;
  chunk->new_block_ids.assign(blocks.begin(), blocks.begin() + static_cast<int64_t>(count));
}

// A prompt of 10 tokens fills two blocks of four and half of a third. Another sequence takes the
// first two as they are and a copy of the third, and neither disturbs the other.
TEST_P(BlockMoverTest, ASequenceGoesOnFromCopiedBlocks) {
  const Answer first = MakeAnswer(1, 10, 0);
  const Sampled expected = Run(MakePlans({first}, 64), 1);
  Answer second = first;
  second.sequence_id = 2;
  second.blocks = {0, 1, 40, 41, 42};

  std::vector<StepPlan> plans = MakePlans({first}, 64);
  ASSERT_EQ(plans.size(), 6u);
  for (size_t i = 1; i < plans.size(); ++i) {
    const int end = 10 + static_cast<int>(i);
    SequenceChunk chunk = MakeChunk(second, end - 1, end);
    chunk.token_ids = {expected.token_ids[i - 1]};
    if (i == 1) {
      plans[i].block_copies = {{2, 40}};
      chunk.start.push_back({.sampling = second.sampling});
      GiveTable(second.blocks, 3, &chunk);
    }
    plans[i].chunks.push_back(std::move(chunk));
  }
  const std::vector<StepResult> results = RunAlone(*MakeRunner(), plans);
  EXPECT_EQ(SampledFor(1, results), expected);
  Sampled rest = SampledFor(2, results);
  EXPECT_EQ(rest.token_ids,
            std::vector<int32_t>(expected.token_ids.begin() + 1, expected.token_ids.end()));
  EXPECT_TRUE(std::equal(rest.logprobs.begin(), rest.logprobs.end(),
                         expected.logprobs.end() - static_cast<int64_t>(rest.logprobs.size())));
}

// Out in the plan in which another sequence takes the blocks, and back to others later.
TEST_P(BlockMoverTest, ASequenceGoesOnFromBlocksThatWereSwapped) {
  const Answer first = MakeAnswer(1, 10, 0);
  const Sampled expected = Run(MakePlans({first}, 64), 1);
  const Answer other = MakeAnswer(2, 11, 0);  // in the same blocks

  std::vector<StepPlan> plans = MakePlans({first}, 64);
  std::vector<StepPlan> meanwhile = MakePlans({other}, 64);
  meanwhile.front().swaps_out = {{0, 7}, {1, 3}, {2, 5}};
  plans.insert(plans.begin() + 2, meanwhile.begin(), meanwhile.end());
  StepPlan& back = plans[2 + meanwhile.size()];
  back.swaps_in = {{5, 22}, {7, 20}, {3, 21}};
  GiveTable({20, 21, 22, 23}, back.chunks[0].num_computed_tokens == 11 ? 3 : 4, &back.chunks[0]);
  for (size_t i = 0; i < plans.size(); ++i) {
    plans[i].step = static_cast<int64_t>(i) + 1;
    if (i <= 2 + meanwhile.size() || plans[i].chunks[0].sequence_id != 1) continue;
    for (int32_t& block : plans[i].chunks[0].new_block_ids) block += 20;
  }
  const std::vector<StepResult> results = RunAlone(*MakeRunner(), plans);
  EXPECT_EQ(SampledFor(1, results), expected);
  EXPECT_EQ(SampledFor(2, results), Run(MakePlans({other}, 64), 2));
}

}  // namespace
}  // namespace longhand::runner
