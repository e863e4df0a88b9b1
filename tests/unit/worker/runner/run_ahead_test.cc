// Steps that begin before the one ahead of them has ended: the tokens are those of steps that wait.
// The device does its work only when somebody looks, so that what is read too early, or written
// over too early, shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/comm/rank_group.h"
#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

using comm::TestTransport;
using ::testing::HasSubstr;

constexpr uint32_t kSeed = 27;

std::unique_ptr<kernels::CudaOps> MakeLateOps() {
  auto ops = kernels::CreateEmulatedOps({.runs_apart = true});
  LONGHAND_CHECK(ops.ok()) << ops.status();
  return std::move(ops).value();
}

// As the executor does: a step begins as soon as it may, and the oldest is waited for only where
// that must be.
struct AheadRun {
  std::vector<StepResult> results;
  int num_ahead = 0;  // began beside another
};
AheadRun RunAhead(ModelRunner& runner, const std::vector<StepPlan>& plans) {
  AheadRun run;
  size_t num_begun = 0;
  const auto end = [&] {
    run.results.push_back(runner.End());
    LONGHAND_CHECK(run.results.back().status.ok()) << run.results.back().status;
  };
  for (StepPlan plan : plans) {
    while (!runner.MayBegin(plan)) end();
    if (num_begun > run.results.size()) ++run.num_ahead;
    runner.Begin(plan);
    ++num_begun;
    plan = {};  // Nobody needs it any more.
  }
  while (run.results.size() < num_begun) end();
  return run;
}

// Greedy, drawn, with penalties and biases, and all of it; without log-probabilities.
std::vector<Answer> Answers() {
  std::vector<Answer> answers = {MakeAnswer(1, 23, 0), MakeAnswer(2, 5, 12), MakeAnswer(3, 1, 20),
                                 MakeAnswer(4, 14, 30)};
  for (Answer& answer : answers) answer.num_new = 9;
  answers[0].sampling = {.temperature = 0};
  answers[1].sampling = {.temperature = 1.0f, .top_k = 40, .seed = 5};
  answers[2].sampling = {.temperature = 0, .repetition_penalty = 1.5f};
  answers[3].sampling = {
      .temperature = 0.8f, .repetition_penalty = 1.3f, .frequency_penalty = 0.2f, .seed = 6};
  answers[2].biases = {{0, 1}, {40, -2}};
  answers[3].biases = {{11, 1.5f}, {97, 2}};
  return answers;
}

using Tokens = std::map<int64_t, std::vector<int32_t>>;
Tokens TokensOf(const std::vector<StepResult>& results) {
  Tokens tokens;
  for (const StepResult& step : results) {
    for (const SequenceResult& sequence : step.sequences) {
      for (const SampledToken& token : sequence.tokens) {
        tokens[sequence.sequence_id].push_back(token.token_id);
      }
    }
  }
  return tokens;
}

class RunAheadTest : public ::testing::Test {
 protected:
  std::unique_ptr<ModelRunner> MakeRunner(kernels::Ops& ops) {
    auto runner = ModelRunner::Create(config_, ops, communicator_, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    return std::move(runner).value();
  }
  Tokens Waiting(const std::vector<StepPlan>& plans) {
    return TokensOf(RunAlone(*MakeRunner(*waiting_ops_), plans));
  }

  const TinyCheckpoint checkpoint_{kSeed};
  RunnerConfig config_ = checkpoint_.Config();
  comm::SingleRankCommunicator communicator_;
  const std::unique_ptr<kernels::Ops> waiting_ops_ = MakeOps("emulated");
  const std::unique_ptr<kernels::CudaOps> ops_ = MakeLateOps();
};

TEST_F(RunAheadTest, TheTokensAreThoseOfStepsThatWait) {
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    config_.dtype = config_.kv_dtype = dtype;
    const std::vector<StepPlan> plans = MakePlans(Answers(), 7);
    const auto runner = MakeRunner(*ops_);
    const int64_t allocations = ops_->num_allocations();
    const AheadRun run = RunAhead(*runner, plans);
    EXPECT_EQ(TokensOf(run.results), Waiting(plans));
    // All but those with a prompt in them, and the first behind one.
    EXPECT_GE(run.num_ahead, 6);
    EXPECT_GT(ops_->num_replays(), 0);
    EXPECT_EQ(ops_->num_allocations(), allocations);
    for (size_t i = 0; i < plans.size(); ++i) EXPECT_EQ(run.results[i].step, plans[i].step);
  }
}

TEST_F(RunAheadTest, WhatIsWantedOfAStepBesidesTokensIsWaitedFor) {
  std::vector<Answer> answers = Answers();
  answers[1].sampling.num_logprobs = 2;
  const std::vector<StepPlan> plans = MakePlans(answers, 32);
  const AheadRun run = RunAhead(*MakeRunner(*ops_), plans);
  EXPECT_EQ(run.num_ahead, 0);
  const std::vector<StepResult> waiting = RunAlone(*MakeRunner(*waiting_ops_), plans);
  for (const Answer& answer : answers) {
    EXPECT_EQ(SampledFor(answer.sequence_id, run.results), SampledFor(answer.sequence_id, waiting));
  }
}

// Sequence 2 stops with the token of a step, when the next, with one more token of it, has begun.
TEST_F(RunAheadTest, ASurplusTokenIsDroppedAndItsBlocksServeAnother) {
  const std::vector<Answer> answers = Answers();
  std::vector<StepPlan> plans = MakePlans(answers, 32);
  plans.resize(5);
  plans.push_back({.released_sequences = {2}});
  Answer other = MakeAnswer(5, 9, answers[1].blocks[0]);
  other.sampling = {.temperature = 0, .repetition_penalty = 1.2f};
  std::vector<StepPlan> rest = MakePlans({other}, 4);
  for (int i = 0; i < 3; ++i) {
    for (const Answer& answer : {answers[0], answers[2], answers[3]}) {
      const int begin = static_cast<int>(answer.prompt.size()) + 4 + i;
      plans.back().chunks.push_back(MakeChunk(answer, begin, begin + 1));
    }
    plans.emplace_back();
  }
  plans.pop_back();
  plans.insert(plans.end(), rest.begin(), rest.end());
  for (size_t i = 0; i < plans.size(); ++i) plans[i].step = static_cast<int64_t>(i) + 1;
  const AheadRun run = RunAhead(*MakeRunner(*ops_), plans);
  const Tokens tokens = TokensOf(run.results);
  EXPECT_EQ(tokens, Waiting(plans));
  EXPECT_EQ(tokens.at(2).size(), 5u);
  // Those with releases too.
  EXPECT_GE(run.num_ahead, 3 + 3 + 3);
}

// Preempted, with its KV in host memory meanwhile; then it goes on where it was.
TEST_F(RunAheadTest, APreemptedSequenceGoesOn) {
  config_.num_host_blocks = 16;
  Answer answer = Answers()[3];
  std::vector<StepPlan> plans = MakePlans({answer}, 32);
  const Tokens expected = Waiting(plans);
  plans.resize(4);
  StepPlan out{.released_sequences = {4}};
  const auto num_blocks = static_cast<int32_t>(answer.blocks.size());
  for (int32_t i = 0; i < num_blocks; ++i) out.swaps_out.push_back({answer.blocks[i], i});
  plans.push_back(out);
  const int computed = 14 + 3;
  for (int i = 0; i < 5; ++i) {
    plans.push_back({.chunks = {MakeChunk(answer, computed + i, computed + i + 1)}});
  }
  StepPlan& in = plans[5];
  SequenceChunk& chunk = in.chunks[0];
  chunk.first_block_idx = 0;
  chunk.new_block_ids.clear();
  for (int32_t i = 0; i < num_blocks; ++i) {
    in.swaps_in.push_back({i, 40 + i});
    chunk.new_block_ids.push_back(40 + i);
  }
  for (size_t i = 6; i < plans.size(); ++i) plans[i].chunks[0].new_block_ids.clear();
  chunk.token_ids = {expected.at(4)[3]};
  chunk.start = {{.sampling = answer.sampling,
                  .prompt_token_ids = answer.prompt,
                  .output_token_ids = {expected.at(4).begin(), expected.at(4).begin() + 4},
                  .biases = answer.biases}};
  for (size_t i = 0; i < plans.size(); ++i) plans[i].step = static_cast<int64_t>(i) + 1;
  const AheadRun run = RunAhead(*MakeRunner(*ops_), plans);
  EXPECT_EQ(TokensOf(run.results), expected);
  EXPECT_GE(run.num_ahead, 2 + 3);
}

TEST_F(RunAheadTest, ANewEpochForgetsWhatIsInFlight) {
  const std::vector<StepPlan> plans = MakePlans(Answers(), 32);
  const auto runner = MakeRunner(*ops_);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(runner->Execute(plans[i]).status, OkStatus());
  runner->Begin(plans[2]);
  ASSERT_TRUE(runner->MayBegin(plans[3]));
  runner->Begin(plans[3]);
  ASSERT_EQ(runner->ResetForEpoch(1, communicator_), OkStatus());
  std::vector<StepPlan> again = plans;
  for (StepPlan& plan : again) plan.epoch = 1;
  EXPECT_EQ(TokensOf(RunAhead(*runner, again).results), Waiting(plans));
}

TEST_F(RunAheadTest, AWrongPlanIsRefusedBehindTheStepAheadOfIt) {
  const std::vector<StepPlan> plans = MakePlans(Answers(), 32);
  const auto runner = MakeRunner(*ops_);
  RunAlone(*runner, {plans[0]});
  runner->Begin(plans[1]);
  StepPlan wrong = plans[2];
  wrong.chunks[0].num_computed_tokens = 1000;
  ASSERT_TRUE(runner->MayBegin(wrong));
  runner->Begin(wrong);
  EXPECT_FALSE(runner->MayBegin(plans[2]));
  const StepResult first = runner->End();
  EXPECT_EQ(first.status, OkStatus());
  EXPECT_EQ(first.sequences.size(), 4u);
  const StepResult second = runner->End();
  EXPECT_THAT(second.status.message(), HasSubstr("1000 computed"));
  EXPECT_GE(second.execute_us, 0);
  EXPECT_EQ(runner->Execute(plans[2]).status, OkStatus());
}

TEST_F(RunAheadTest, AnAbortEndsBothSteps) {
  const std::vector<StepPlan> plans = MakePlans(Answers(), 32);
  const auto runner = MakeRunner(*ops_);
  RunAlone(*runner, {plans[0]});
  runner->Begin(plans[1]);
  runner->Begin(plans[2]);
  communicator_.Abort();
  EXPECT_EQ(runner->End().status.code(), StatusCode::kAborted);
  EXPECT_EQ(runner->End().status.code(), StatusCode::kAborted);
}

// Each rank begins and ends its steps when it likes; exchanges are kernels of the recorded step.
TEST_F(RunAheadTest, RanksGetTheSameTokens) {
  if (!comm::kHasEmulatedDevices) GTEST_SKIP() << "emulated devices are fibers";
  for (const bool has_nucleus : {false, true}) {
    std::vector<Answer> answers = Answers();
    // What ranks tell each other may not settle it: such steps are waited for.
    if (has_nucleus) answers[1].sampling = {.temperature = 1.0f, .top_p = 0.9f, .seed = 5};
    const std::vector<StepPlan> plans = MakePlans(answers, 12);
    comm::RankGroup group({TestTransport::kLatePeers, 2}, std::chrono::seconds(60));
    std::vector<AheadRun> runs(2);
    group.Run([&](comm::Communicator& communicator) {
      auto runner = ModelRunner::Create(config_, group.ops(communicator.rank()), communicator, {});
      LONGHAND_CHECK(runner.ok()) << runner.status();
      AheadRun& run = runs[static_cast<size_t>(communicator.rank())];
      if (communicator.rank() == 0) {
        run = RunAhead(**runner, plans);
      } else {
        run.results = RunAlone(**runner, plans);
      }
    });
    EXPECT_EQ(TokensOf(runs[0].results), Waiting(plans));
    if (has_nucleus) {
      EXPECT_EQ(runs[0].num_ahead, 0);
    } else {
      EXPECT_GE(runs[0].num_ahead, 6);
    }
  }
}

}  // namespace
}  // namespace longhand::runner
