#include "worker/runner/decode_replay.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

// Decode steps on the emulated CUDA backend, where a recording is a list of launches with their
// arguments: what changes from step to step and is not in device memory would stay what it was.
class ReplayTest : public ::testing::Test {
 protected:
  // Answers of several lengths, so that batches shrink and block tables grow.
  static std::vector<Answer> Answers() {
    std::vector<Answer> answers;
    for (int i = 0; i < 5; ++i) {
      Answer answer = MakeAnswer(i + 1, 3 + 11 * i, 0);
      answer.num_new = 4 + 4 * i;
      const int blocks = (3 + 11 * i + answer.num_new + 3) / 4;
      answer.blocks.resize(static_cast<size_t>(blocks));
      for (int b = 0; b < blocks; ++b) answer.blocks[static_cast<size_t>(b)] = b * 5 + i;
      answers.push_back(std::move(answer));
    }
    answers[1].sampling = {.temperature = 1.0f, .top_p = 0.9f, .seed = 5, .num_logprobs = 0};
    answers[2].sampling = {.temperature = 0, .repetition_penalty = 1.5f, .num_logprobs = 3};
    answers[4].sampling = {.temperature = 0.7f, .seed = 8};
    answers[4].suppressed = {3, 4};
    answers[4].num_suppressed = 9;
    return answers;
  }
  struct Run {
    std::vector<Sampled> sampled;
    int64_t replays = 0;
    std::string log;
  };
  Run RunAnswers(bool replay, bool refuse = false) const {
    auto ops = kernels::CreateEmulatedOps({.refuses_recordings = refuse});
    LONGHAND_CHECK(ops.ok()) << ops.status();
    comm::SingleRankCommunicator communicator;
    Run run;
    RunnerConfig config = checkpoint_.Config();
    config.num_blocks = 128;
    config.log = [&run](const std::string& line) { run.log += line + "\n"; };
    auto runner = ModelRunner::Create(config, **ops, communicator, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    (*runner)->ReplaySteps(replay);
    const std::vector<StepResult> results = RunAlone(**runner, MakePlans(Answers(), 12));
    for (const Answer& answer : Answers()) {
      run.sampled.push_back(SampledFor(answer.sequence_id, results));
    }
    run.replays = (*ops)->num_replays();
    return run;
  }

  const TinyCheckpoint checkpoint_{/*seed=*/21};
};

TEST_F(ReplayTest, ReplayedStepsGiveTheBitsOfStepsThatRunAsTheyAre) {
  const Run replayed = RunAnswers(true), eager = RunAnswers(false);
  EXPECT_GT(replayed.replays, 8);
  EXPECT_EQ(eager.replays, 0);
  EXPECT_EQ(replayed.sampled, eager.sampled);
  EXPECT_EQ(replayed.log, "");
}

TEST_F(ReplayTest, WhereRecordingFailsStepsGoOnAndSaySoOnce) {
  const Run refused = RunAnswers(true, /*refuse=*/true);
  EXPECT_EQ(refused.replays, 0);
  EXPECT_EQ(refused.sampled, RunAnswers(true).sampled);
  EXPECT_EQ(refused.log,
            "decode steps run without graphs: recording failed: recording: refused, as the options "
            "say\n");
}

TEST(DecodeReplayTest, AGroupThatEndsInTheMiddleOfARecordingLeavesTheNextItsOwn) {
  const auto ops = kernels::CreateEmulatedOps().value();
  std::string log;
  DecodeReplay replay(*ops, /*largest_exchange_bytes=*/0, [&](const std::string& l) { log += l; });
  Status outcome;
  const auto run = [&] {
    return replay.Run({1, 16, false}, [&](kernels::VocabShard*) { return outcome; }).status();
  };
  EXPECT_EQ(run(), OkStatus());
  outcome = Aborted("the communicator was aborted");
  EXPECT_EQ(run(), outcome);
  EXPECT_EQ(log, "decode steps run without graphs: recording failed: " + outcome.message());
  outcome = OkStatus();
  EXPECT_EQ(run(), OkStatus());
  EXPECT_EQ(ops->num_replays(), 0);
  replay.Forget();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(), OkStatus());
  EXPECT_EQ(ops->num_replays(), 2);
}

TEST(DecodeReplayTest, OfTooManyRecordingsTheOneThatWasNotRunForLongestGoes) {
  constexpr auto kMost = static_cast<int64_t>(DecodeReplay::kMaxRecordings);
  const auto ops = kernels::CreateEmulatedOps().value();
  DecodeReplay replay(*ops, /*largest_exchange_bytes=*/0, {});
  // How often a step of so many sequences is enqueued, which a replay does not do.
  int num_enqueued = 0;
  const auto run = [&](int64_t num_seqs) {
    const int before = num_enqueued;
    const auto enqueue = [&](kernels::VocabShard*) {
      ++num_enqueued;
      return OkStatus();
    };
    EXPECT_EQ(replay.Run({num_seqs, 16, false}, enqueue).status(), OkStatus());
    return num_enqueued - before;
  };
  for (int64_t n = 1; n <= kMost; ++n) {
    EXPECT_EQ(run(n) + run(n), 2);
    EXPECT_EQ(run(n), 0);
  }
  EXPECT_EQ(run(1), 0);
  EXPECT_EQ(run(kMost + 1) + run(kMost + 1), 2);  // Takes the place of 2.
  for (int64_t n = 3; n <= kMost + 1; ++n) EXPECT_EQ(run(n), 0) << n;
  EXPECT_EQ(run(1), 0);
  EXPECT_EQ(run(2), 1) << "is recorded again at once";
  EXPECT_EQ(run(2), 0);
  EXPECT_EQ(run(3), 1);
}

}  // namespace
}  // namespace longhand::runner
