#include "worker/runner/model_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "tests/testing/tiny_model.h"
#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kSeed = 21;

// On each backend.
class ModelRunnerTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<ModelRunner> MakeRunner() { return MakeRunner(checkpoint_.Config()); }
  std::unique_ptr<ModelRunner> MakeRunner(const RunnerConfig& config) {
    auto runner = ModelRunner::Create(config, *ops_, communicator_, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    return std::move(runner).value();
  }
  // The answer when nothing else is going on.
  Sampled Alone(const Answer& answer) {
    return SampledFor(answer.sequence_id, RunAlone(*MakeRunner(), MakePlans({answer}, 64)));
  }
  std::vector<StepResult> Group(int tp_size, const std::vector<StepPlan>& plans) {
    return RunGroup(checkpoint_.Config(), tp_size, GetParam(), plans);
  }

  const TinyCheckpoint checkpoint_{kSeed};
  const std::unique_ptr<kernels::Ops> ops_ = MakeOps(GetParam());
  comm::SingleRankCommunicator communicator_;
};

INSTANTIATE_TEST_SUITE_P(Backends,
                         ModelRunnerTest,
                         ::testing::Values("reference", "cpu", "emulated"),
                         [](const auto& info) { return info.param; });

std::vector<Answer> FourAnswers() {
  std::vector<Answer> answers = {MakeAnswer(1, 23, 0), MakeAnswer(2, 5, 12), MakeAnswer(3, 1, 20),
                                 MakeAnswer(4, 14, 30)};
  answers[1].sampling = {.temperature = 1.0f, .top_p = 0.9f, .seed = 5, .num_logprobs = 0};
  answers[3].sampling = {.temperature = 0, .repetition_penalty = 1.5f, .num_logprobs = 3};
  return answers;
}

// A large cache takes long to be had: who watches must see that it comes.
TEST_P(ModelRunnerTest, TellsOfEachLayersMemory) {
  RunnerConfig config = checkpoint_.Config();
  config.num_host_blocks = 3;
  int64_t pieces = 0;
  config.on_piece = [&] { ++pieces; };
  MakeRunner(config);
  EXPECT_EQ(pieces, 2 * config.model.num_layers);
}

TEST_P(ModelRunnerTest, ChunksOfAnySizeGiveTheSameBits) {
  const Answer answer = MakeAnswer(1, 23, 3);
  const Sampled expected = Alone(answer);
  ASSERT_EQ(expected.token_ids.size(), 6u);
  EXPECT_GT(std::set<int32_t>(expected.token_ids.begin(), expected.token_ids.end()).size(), 1u);
  for (const int chunk : {1, 4, 5, 16}) {
    EXPECT_EQ(SampledFor(1, RunAlone(*MakeRunner(), MakePlans({answer}, chunk))), expected)
        << "chunks of " << chunk;
  }
}

TEST_P(ModelRunnerTest, ABatchGivesEachSequenceTheBitsItHasAlone) {
  const std::vector<Answer> answers = FourAnswers();
  const std::vector<StepResult> together = RunAlone(*MakeRunner(), MakePlans(answers, 7));
  for (const Answer& answer : answers) {
    EXPECT_EQ(SampledFor(answer.sequence_id, together), Alone(answer)) << answer.sequence_id;
  }
}

// 98 vocabulary rows: even over 2 ranks, padded over 4, where KV heads are replicated too.
TEST_P(ModelRunnerTest, MoreRanksSampleTheSameTokens) {
  const std::vector<StepPlan> plans = MakePlans(FourAnswers(), 16);
  const std::vector<StepResult> one = RunAlone(*MakeRunner(), plans);
  for (const int tp_size : {2, 4}) {
    const std::vector<StepResult> many = Group(tp_size, plans);
    for (const Answer& answer : FourAnswers()) {
      EXPECT_EQ(SampledFor(answer.sequence_id, many).token_ids,
                SampledFor(answer.sequence_id, one).token_ids)
          << "TP " << tp_size << ", sequence " << answer.sequence_id;
    }
  }
}

TEST_P(ModelRunnerTest, ATokenOnTheDeviceIsTheOneThatWasSampled) {
  const Answer answer = MakeAnswer(1, 9, 0);
  const Sampled expected = Alone(answer);
  std::vector<StepPlan> plans = MakePlans({answer}, 64);
  for (size_t i = 1; i < plans.size(); ++i) {
    plans[i].chunks[0].token_ids = {expected.token_ids[i - 1]};
  }
  EXPECT_EQ(SampledFor(1, RunAlone(*MakeRunner(), plans)), expected);
}

// As after a failover: the answer so far comes back as part of the prefill, and the rest follows.
TEST_P(ModelRunnerTest, ASequenceThatStartsAgainGoesOnWithTheSameBits) {
  Answer answer = MakeAnswer(1, 9, 0);
  answer.sampling = {.temperature = 0.8f, .repetition_penalty = 1.2f, .seed = 3, .num_logprobs = 1};
  const Sampled expected = Alone(answer);

  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  std::vector<StepPlan> plans = MakePlans({answer}, 64);
  plans.resize(3);
  RunAlone(*runner, plans);
  Answer again = MakeAnswer(1, 9, 40);
  again.sampling = answer.sampling;
  again.prompt.insert(again.prompt.end(), expected.token_ids.begin(),
                      expected.token_ids.begin() + 3);
  again.num_new = 3;
  std::vector<StepPlan> rest = MakePlans({again}, 5);
  for (StepPlan& plan : rest) {
    plan.step += 3;
    plan.chunks[0].output_position += 3;
  }
  SequenceStart& start = rest[0].chunks[0].start[0];
  start.prompt_token_ids = answer.prompt;
  start.output_token_ids.assign(expected.token_ids.begin(), expected.token_ids.begin() + 3);
  Sampled tail = SampledFor(1, RunAlone(*runner, rest));
  EXPECT_EQ(tail.token_ids,
            std::vector<int32_t>(expected.token_ids.begin() + 3, expected.token_ids.end()));
  EXPECT_EQ(tail.logprobs,
            std::vector<float>(expected.logprobs.begin() + 6, expected.logprobs.end()));
}

TEST_P(ModelRunnerTest, ReleasedBlocksServeAnotherSequence) {
  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  const std::vector<StepPlan> first = MakePlans({MakeAnswer(1, 20, 0)}, 64);
  RunAlone(*runner, first);
  const Answer answer = MakeAnswer(2, 9, 0);
  std::vector<StepPlan> second = MakePlans({answer}, 64);
  for (StepPlan& plan : second) plan.step += static_cast<int64_t>(first.size());
  second[0].released_sequences = {1, 99};  // One that never was does no harm.
  EXPECT_EQ(SampledFor(2, RunAlone(*runner, second)), Alone(answer));
}

// Asks for the log-probability of each prompt token of the answer, but not of number 7, and of
// `last` after the prompt; and of the three likeliest beside each.
void AskForScores(const Answer& answer, int32_t last, std::vector<StepPlan>* plans) {
  for (StepPlan& plan : *plans) {
    for (SequenceChunk& chunk : plan.chunks) {
      if (chunk.sequence_id != answer.sequence_id) continue;
      chunk.num_score_top = 3;
      for (size_t i = 0; i < chunk.token_ids.size(); ++i) {
        const size_t next = static_cast<size_t>(chunk.num_computed_tokens) + i + 1;
        const bool in_prompt = next < answer.prompt.size();
        chunk.score_token_ids.push_back(next == 7 ? -1 : in_prompt ? answer.prompt[next] : last);
      }
    }
  }
}

std::vector<float> ScoresFor(int64_t sequence_id, const std::vector<StepResult>& results) {
  std::vector<float> scores;
  for (const StepResult& result : results) {
    for (const SequenceResult& sequence : result.sequences) {
      if (sequence.sequence_id != sequence_id) continue;
      scores.insert(scores.end(), sequence.score_logprobs.begin(), sequence.score_logprobs.end());
    }
  }
  return scores;
}

std::vector<TokenLogprob> TopFor(int64_t sequence_id, const std::vector<StepResult>& results) {
  std::vector<TokenLogprob> top;
  for (const StepResult& result : results) {
    for (const SequenceResult& sequence : result.sequences) {
      if (sequence.sequence_id != sequence_id) continue;
      top.insert(top.end(), sequence.score_top.begin(), sequence.score_top.end());
    }
  }
  return top;
}

// In a chunk of 40 there are more scores than rows of logits at once, which are 16.
TEST_P(ModelRunnerTest, ScoresAreTheLogprobsOfTheNextTokens) {
  Answer answer = MakeAnswer(1, 40, 0);
  answer.num_new = 1;
  const Sampled sampled = Alone(answer);
  const auto scores = [&](int chunk, bool in_batch) {
    std::vector<Answer> answers = {answer};
    if (in_batch) answers.insert(answers.begin(), MakeAnswer(2, 9, 20));
    std::vector<StepPlan> plans = MakePlans(answers, chunk);
    AskForScores(answer, sampled.token_ids[0], &plans);
    return ScoresFor(1, RunAlone(*MakeRunner(), plans));
  };
  const std::vector<float> one_by_one = scores(1, false);
  ASSERT_EQ(one_by_one.size(), 40u);
  EXPECT_EQ(one_by_one[6], 0.0f);  // not asked for
  EXPECT_EQ(one_by_one[39], sampled.logprobs[0]);
  EXPECT_EQ(std::set<float>(one_by_one.begin(), one_by_one.end()).size(), 40u);
  EXPECT_EQ(scores(40, false), one_by_one);
  EXPECT_EQ(scores(40, true), one_by_one);
}

// A token that is among the likeliest has the same number there, to the bit: clients compare them.
TEST_P(ModelRunnerTest, TheLikeliestTokensStandBesideTheScores) {
  Answer answer = MakeAnswer(1, 40, 0);
  answer.num_new = 1;
  const auto run = [&](int chunk, std::vector<float>* scores) {
    std::vector<StepPlan> plans = MakePlans({answer}, chunk);
    AskForScores(answer, 3, &plans);
    const std::vector<StepResult> results = RunAlone(*MakeRunner(), plans);
    *scores = ScoresFor(1, results);
    return TopFor(1, results);
  };
  std::vector<float> scores, others;
  const std::vector<TokenLogprob> top = run(40, &scores);
  const std::vector<TokenLogprob> one_by_one = run(1, &others);
  ASSERT_EQ(top.size(), 120u);
  ASSERT_EQ(one_by_one.size(), 120u);
  for (size_t i = 0; i < 40; ++i) {
    if (i == 6) continue;  // not asked for
    const int32_t wanted = i < 39 ? answer.prompt[i + 1] : 3;
    EXPECT_GT(top[3 * i].logprob, top[3 * i + 1].logprob);
    for (size_t j = 3 * i; j < 3 * i + 3; ++j) {
      EXPECT_EQ(top[j].token_id, one_by_one[j].token_id);
      EXPECT_EQ(top[j].logprob, one_by_one[j].logprob);
      if (top[j].token_id == wanted) {
        EXPECT_EQ(top[j].logprob, scores[i]);
      }
    }
  }
  // What is likeliest after the first token is asked for as the second.
  Answer likely = answer;
  likely.prompt[1] = top[0].token_id;
  std::vector<StepPlan> plans = MakePlans({likely}, 40);
  AskForScores(likely, 3, &plans);
  const std::vector<StepResult> results = RunAlone(*MakeRunner(), plans);
  EXPECT_EQ(ScoresFor(1, results)[0], top[0].logprob);
}

TEST_P(ModelRunnerTest, ScoresAreTheSameOverMoreRanks) {
  const Answer answer = MakeAnswer(1, 40, 0);
  std::vector<StepPlan> plans = MakePlans({answer}, 40);
  AskForScores(answer, 3, &plans);
  const std::vector<StepResult> alone = RunAlone(*MakeRunner(), plans), group = Group(2, plans);
  const std::vector<float> one = ScoresFor(1, alone), two = ScoresFor(1, group);
  ASSERT_EQ(two.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(two[i], one[i], 1e-4f) << i;
  const std::vector<TokenLogprob> top = TopFor(1, alone), top_of_two = TopFor(1, group);
  ASSERT_EQ(top_of_two.size(), top.size());
  for (size_t i = 0; i < top.size(); ++i)
    EXPECT_NEAR(top_of_two[i].logprob, top[i].logprob, 1e-4f) << i;
}

TEST_P(ModelRunnerTest, TheSeedDecidesWhatIsSampled) {
  Answer answer = MakeAnswer(1, 9, 0);
  answer.sampling = {.temperature = 1.5f, .seed = 1, .num_logprobs = 0};
  const Sampled first = Alone(answer);
  EXPECT_EQ(Alone(answer), first);
  answer.sampling.seed = 2;
  EXPECT_NE(Alone(answer), first);
  answer.sampling.seed = 1;
  answer.sampling.choice = 1;
  EXPECT_NE(Alone(answer), first);
}

TEST_P(ModelRunnerTest, LogprobsComeBestFirstAndOnlyWhereAsked) {
  std::vector<Answer> answers = {MakeAnswer(1, 9, 0), MakeAnswer(2, 9, 10), MakeAnswer(3, 9, 20)};
  answers[0].sampling.num_logprobs = 5;
  answers[1].sampling.num_logprobs = 0;
  answers[2].sampling.num_logprobs = -1;
  const StepResult result = RunAlone(*MakeRunner(), MakePlans(answers, 64))[0];
  const SampledToken& five = result.sequences[0].tokens[0];
  ASSERT_EQ(five.top.size(), 5u);
  EXPECT_EQ(five.top[0].token_id, five.token_id);
  EXPECT_EQ(five.top[0].logprob, five.logprob);
  for (size_t i = 1; i < 5; ++i) EXPECT_LE(five.top[i].logprob, five.top[i - 1].logprob);
  EXPECT_TRUE(result.sequences[1].tokens[0].top.empty());
  EXPECT_LT(result.sequences[1].tokens[0].logprob, 0.0f);
  EXPECT_TRUE(result.sequences[2].tokens[0].top.empty());
}

TEST_P(ModelRunnerTest, SuppressedTokensAreNotSampled) {
  Answer answer = MakeAnswer(1, 9, 0);
  const Sampled free = Alone(answer);
  answer.suppressed = {free.token_ids[0]};
  answer.num_suppressed = 1;
  EXPECT_NE(Alone(answer).token_ids[0], free.token_ids[0]);
  answer.num_suppressed = 0;
  EXPECT_EQ(Alone(answer).token_ids[0], free.token_ids[0]);
}

class ImageRunnerTest : public ModelRunnerTest {
 protected:
  ImageRunnerTest() {
    hash_[0] = 7;
    for (size_t i = 0; i < 112 * 84 * 3; ++i) {
      pixels_.push_back(static_cast<uint8_t>((i * 37 + i / 300) % 251));
    }
    answer_.prompt.assign(20, 90);
    answer_.images = {{.offset = 4, .num_tokens = 12, .cache_row = 5}};
  }

  EncodeImageItem Item(int32_t rank, int32_t begin, int32_t end) const {
    return {.image = hash_, .rank = rank, .layer_begin = begin, .layer_end = end, .cache_row = 5};
  }
  // The image's items one to a plan, the last of them together with the first chunk.
  std::vector<StepPlan> Plans(const std::vector<EncodeImageItem>& items, int chunk) const {
    std::vector<StepPlan> plans(items.size() - 1);
    for (StepPlan& plan : MakePlans({answer_}, chunk)) plans.push_back(std::move(plan));
    for (size_t i = 0; i < plans.size(); ++i) plans[i].step = static_cast<int64_t>(i) + 1;
    for (size_t i = 0; i < items.size(); ++i) plans[i].images = {items[i]};
    return plans;
  }
  Sampled Run(int tp_size, const std::vector<StepPlan>& plans) const {
    return SampledFor(
        1, RunGroup(checkpoint_.Config(), tp_size, GetParam(), plans, hash_, 112, 84, pixels_));
  }

  ContentHash hash_{};
  std::vector<uint8_t> pixels_;  // 8 x 6 patches, 12 tokens
  Answer answer_ = MakeAnswer(1, 20, 0);
};

INSTANTIATE_TEST_SUITE_P(Backends,
                         ImageRunnerTest,
                         ::testing::Values("reference", "cpu", "emulated"),
                         [](const auto& info) { return info.param; });

TEST_P(ImageRunnerTest, LayerRangesAndChunksGiveTheSameBits) {
  const Sampled expected = Run(1, Plans({Item(0, 0, 2)}, 64));
  EXPECT_EQ(Run(1, Plans({Item(0, 0, 1), Item(0, 1, 2)}, 64)), expected);
  EXPECT_EQ(Run(1, Plans({Item(0, 0, 2)}, 3)), expected);
}

TEST_P(ImageRunnerTest, WhicheverRankEncodesAllGetTheEmbeddings) {
  const Sampled expected = Run(1, Plans({Item(0, 0, 2)}, 64));
  EXPECT_EQ(Run(2, Plans({Item(0, 0, 2)}, 64)).token_ids, expected.token_ids);
  EXPECT_EQ(Run(2, Plans({Item(1, 0, 2)}, 64)), Run(2, Plans({Item(0, 0, 2)}, 64)));
}

TEST_P(ImageRunnerTest, AnotherImageGivesAnotherAnswer) {
  const Sampled expected = Run(1, Plans({Item(0, 0, 2)}, 64));
  std::fill(pixels_.begin() + 56 * 84 * 3, pixels_.end(), 0);
  EXPECT_NE(Run(1, Plans({Item(0, 0, 2)}, 64)).logprobs, expected.logprobs);
}

TEST_P(ImageRunnerTest, InABatchTheImageStaysWithItsSequence) {
  const std::vector<StepPlan> alone = Plans({Item(0, 0, 2)}, 64);
  std::vector<StepPlan> together = MakePlans({MakeAnswer(2, 11, 40), answer_}, 64);
  together[0].images = {Item(0, 0, 2)};
  EXPECT_EQ(Run(1, together), Run(1, alone));
}

TEST_P(ImageRunnerTest, WrongPixelsAreRefused) {
  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  const auto put = [&](int32_t height, int32_t width, size_t bytes) {
    return runner->PutImage(hash_, height, width, std::vector<uint8_t>(bytes)).message();
  };
  EXPECT_THAT(put(30, 28, 30 * 28 * 3), HasSubstr("must be multiples of 28"));
  EXPECT_THAT(put(0, 28, 0), HasSubstr("must be multiples of 28"));
  EXPECT_THAT(put(-28, -28, 28 * 28 * 3), HasSubstr("must be multiples of 28"));
  EXPECT_THAT(put(280, 56, 280 * 56 * 3), HasSubstr("has 80 patches; at most 64 are allowed"));
  EXPECT_THAT(put(56, 56, 100), HasSubstr("came with 100 bytes; it has 9408"));
  EXPECT_EQ(put(56, 56, 9408), "");
}

TEST_P(ModelRunnerTest, ANewEpochForgetsSequencesAndKeepsWeights) {
  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  const Answer answer = MakeAnswer(1, 9, 0);
  std::vector<StepPlan> plans = MakePlans({answer}, 64);
  const Sampled expected = SampledFor(1, RunAlone(*runner, plans));
  // The weights are in memory: the files are not needed again.
  std::filesystem::remove(checkpoint_.directory() / "model.safetensors");
  comm::SingleRankCommunicator other;
  ASSERT_EQ(runner->ResetForEpoch(5, other), OkStatus());
  EXPECT_THAT(runner->Execute(plans[0]).status.message(), HasSubstr("this is epoch 5"));
  for (StepPlan& plan : plans) plan.epoch = 5;
  StepPlan orphan = plans[1];
  orphan.step = 1;
  EXPECT_THAT(runner->Execute(orphan).status.message(), HasSubstr("the sequence is unknown"));
  EXPECT_EQ(SampledFor(1, RunAlone(*runner, plans)), expected);
}

TEST_P(ModelRunnerTest, AnAbortedCommunicatorEndsTheStep) {
  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  communicator_.Abort();
  const StepResult result = runner->Execute(MakePlans({MakeAnswer(1, 9, 0)}, 64)[0]);
  EXPECT_EQ(result.status.code(), StatusCode::kAborted);
  EXPECT_TRUE(result.sequences.empty());
}

TEST_P(ModelRunnerTest, SizesThatCannotWorkAreRefusedByName) {
  const struct {
    int64_t RunnerConfig::* field;
    int64_t value;
    const char* message;
  } cases[] = {
      {&RunnerConfig::num_blocks, 0, "num_blocks is 0; it must be from 1"},
      {&RunnerConfig::max_num_seqs, 65, "max_num_seqs is 65; it must be from 1 to 64"},
      {&RunnerConfig::max_model_len, 1025, "max_model_len is 1025; it must be from 1 to 1024"},
      {&RunnerConfig::block_size, -4, "block_size is -4"},
  };
  for (const auto& c : cases) {
    RunnerConfig config = checkpoint_.Config();
    config.*c.field = c.value;
    const auto runner = ModelRunner::Create(config, *ops_, communicator_, {});
    EXPECT_THAT(runner.status().message(), HasSubstr(c.message));
  }
}

TEST_P(ModelRunnerTest, MoreMemoryThanTheRankMayTakeIsRefusedWithTheTable) {
  RunnerConfig config = checkpoint_.Config();
  const int64_t needed = MakeRunner()->memory().total_bytes();
  config.memory_bytes = needed;
  EXPECT_TRUE(ModelRunner::Create(config, *ops_, communicator_, {}).ok());
  config.memory_bytes = needed - 1;
  const auto refused = ModelRunner::Create(config, *ops_, communicator_, {});
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.status().message(),
              HasSubstr("needs " + std::to_string(needed) + " bytes of memory and may take " +
                        std::to_string(needed - 1) + ", 1 fewer"));
  EXPECT_THAT(refused.status().message(), HasSubstr("KV cache  "));
}

TEST_P(ModelRunnerTest, WhereNothingIsQuickerBitsStayDeterministicAndTheLogSaysSo) {
  RunnerConfig config = checkpoint_.Config();
  config.deterministic = false;
  std::vector<std::string> lines;
  config.log = [&](const std::string& line) { lines.push_back(line); };
  const auto runner = ModelRunner::Create(config, *ops_, communicator_, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("every product is deterministic"));
  EXPECT_EQ((*runner)->memory().total_bytes(), MakeRunner()->memory().total_bytes());
}

TEST_P(ModelRunnerTest, TheMemoryTableHasTheKvCacheAndTheWeights) {
  const std::unique_ptr<ModelRunner> runner = MakeRunner();
  const auto plan = PlanShards(testing::TinyConfig(), 1, DType::kBf16, DType::kF32);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::map<std::string, int64_t> parts;
  for (const auto& part : runner->memory().parts) parts[part.name] = part.bytes;
  EXPECT_EQ(parts["KV cache"], 64 * 4 * plan->ranks[0].kv_bytes_per_token);
  EXPECT_EQ(parts["language model weights"] + parts["image encoder weights"],
            plan->ranks[0].weight_bytes);
  EXPECT_GT(parts["decoder workspace"], 64 * 98 * 4);
}

}  // namespace
}  // namespace longhand::runner
