// A wrong plan is refused with a message, and the runner goes on as if it had never come.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

using ::testing::HasSubstr;

ContentHash Hash(uint8_t value) {
  ContentHash hash{};
  hash[0] = value;
  return hash;
}

class PlanCheck : public ::testing::Test {
 protected:
  PlanCheck() {
    auto runner = ModelRunner::Create(checkpoint_.Config(), *ops_, communicator_, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    runner_ = std::move(runner).value();
    const Status put = runner_->PutImage(Hash(1), 56, 56, std::vector<uint8_t>(56 * 56 * 3));
    LONGHAND_CHECK(put.ok()) << put;
    // Sequence 1 is known, with 9 tokens in blocks 10 to 12 and a token sampled.
    plans_ = MakePlans({MakeAnswer(1, /*prompt_len=*/9, /*first_block=*/10)}, /*chunk=*/64);
    LONGHAND_CHECK(runner_->Execute(plans_[0]).status.ok());
  }

  // The second plan, which is right.
  StepPlan Next() const { return plans_[1]; }

  const TinyCheckpoint checkpoint_{/*seed=*/11};
  const std::unique_ptr<kernels::Ops> ops_ = MakeOps("reference");
  comm::SingleRankCommunicator communicator_;
  std::unique_ptr<ModelRunner> runner_;
  std::vector<StepPlan> plans_;
};

struct WrongPlan {
  std::function<void(StepPlan&)> damage;
  const char* message;
};

EncodeImageItem Item(uint8_t image, int32_t begin, int32_t end, int64_t row = 0, int32_t rank = 0) {
  return {
      .image = Hash(image), .rank = rank, .layer_begin = begin, .layer_end = end, .cache_row = row};
}

TEST_F(PlanCheck, WrongCopiesOfBlocksAreRefusedAndChangeNothing) {
  const WrongPlan cases[] = {
      {[](StepPlan& p) { p.block_copies = {{64, 1}}; }, "block_copies holds block 64 to 1"},
      {[](StepPlan& p) { p.block_copies = {{1, -1}}; }, "block_copies holds block 1 to -1"},
      {[](StepPlan& p) { p.block_copies = {{1, 2}, {3, 2}}; }, "block_copies writes block 2 twice"},
      {[](StepPlan& p) { p.block_copies = {{1, 2}, {2, 3}}; }, "block_copies reads block 2"},
      {[](StepPlan& p) { p.swaps_out = {{1, 0}}; }, "and 0 to copy to"},
      {[](StepPlan& p) { p.swaps_in = {{0, 1}}; }, "there are 0 to copy from"},
  };
  for (const WrongPlan& wrong : cases) {
    StepPlan plan = Next();
    wrong.damage(plan);
    EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr(wrong.message));
  }
  EXPECT_TRUE(runner_->Execute(Next()).status.ok());
}

TEST_F(PlanCheck, WrongChunksAreRefusedAndChangeNothing) {
  const auto chunk = [](StepPlan& plan) -> SequenceChunk& { return plan.chunks[0]; };
  const WrongPlan cases[] = {
      {[&](StepPlan& p) { p.epoch = 4; }, "the plan is of epoch 4; this is epoch 0"},
      {[&](StepPlan& p) { p.step = 3; }, "the plan is of step 3; the next one is 2"},
      {[&](StepPlan& p) { p.step = 1; }, "the plan is of step 1; the next one is 2"},
      {[&](StepPlan& p) { chunk(p).sequence_id = 2; },
       "sequence 2: the sequence is unknown, and does not start"},
      {[&](StepPlan& p) { p.released_sequences = {1}; },
       "sequence 1: the sequence is unknown, and does not start"},
      {[&](StepPlan& p) { p.chunks.push_back(chunk(p)); }, "the plan has two chunks of it"},
      {[&](StepPlan& p) { chunk(p).start.resize(2); }, "start is given 2 times"},
      {[&](StepPlan& p) { chunk(p).start = {{.adapter = 0}}; }, "its adapter is in slot 0 of 0"},
      {[&](StepPlan& p) { chunk(p).start = {{.adapter = -2}}; }, "its adapter is in slot -2"},
      {[&](StepPlan& p) { chunk(p).token_ids.clear(); }, "the chunk has no tokens"},
      {[&](StepPlan& p) { chunk(p).positions.pop_back(); }, "1 tokens need 3"},
      {[&](StepPlan& p) { chunk(p).token_ids = {98}; }, "token_ids holds 98"},
      {[&](StepPlan& p) { chunk(p).token_ids = {-2}; }, "token_ids holds -2"},
      {[&](StepPlan& p) { chunk(p).start.resize(1); },
       "token_ids names the token of an earlier step; none was sampled"},
      {[&](StepPlan& p) { chunk(p).new_block_ids = {64}; }, "new_block_ids holds 64"},
      {[&](StepPlan& p) { chunk(p).new_block_ids = {-1}; }, "new_block_ids holds -1"},
      {[&](StepPlan& p) { chunk(p).first_block_idx = 4; }, "the block table has 3 blocks"},
      {[&](StepPlan& p) { chunk(p).first_block_idx = -1; }, "first_block_idx is -1"},
      {[&](StepPlan& p) { chunk(p).new_block_ids.assign(40, 1); }, "at most 32 are allowed"},
      {[&](StepPlan& p) { chunk(p).num_computed_tokens = 12; }, "the sequence has room for 12"},
      {[&](StepPlan& p) { chunk(p).num_computed_tokens = -1; }, "the sequence has room for 12"},
      {[&](StepPlan& p) { chunk(p).num_computed_tokens = INT64_MAX; }, "has room for 12"},
      {[&](StepPlan& p) { chunk(p).image_spans = {{0, 2, 0}}; }, "must rise within 1 tokens"},
      {[&](StepPlan& p) { chunk(p).image_spans = {{-1, 1, 0}}; }, "must rise within 1 tokens"},
      {[&](StepPlan& p) { chunk(p).image_spans = {{0, 1, 32}}; }, "the cache has 32"},
      {[&](StepPlan& p) { chunk(p).image_spans = {{0, 1, -1}}; }, "the cache has 32"},
      {[&](StepPlan& p) { chunk(p).output_position = -1; }, "output_position is -1"},
      {[&](StepPlan& p) { chunk(p).score_token_ids = {1, 2}; }, "score_token_ids has 2 elements"},
      {[&](StepPlan& p) { chunk(p).score_token_ids = {98}; }, "score_token_ids holds 98"},
      {[&](StepPlan& p) { chunk(p).num_score_top = 1; },
       "num_score_top is 1; it must be from 0 to 0"},
      {[&](StepPlan& p) { chunk(p).suppressed_token_ids = {98}; }, "suppressed_token_ids holds 98"},
      {[&](StepPlan& p) { chunk(p).suppressed_token_ids.assign(257, 1); },
       "suppressed_token_ids has 257 ids; at most 256 are allowed"},
      {[&](StepPlan& p) { chunk(p).allowed_tokens = {1, 1}; },
       "allowed_tokens has 2 words; 98 tokens need 4"},
      {[&](StepPlan& p) { chunk(p).allowed_tokens.assign(4, 0); },
       "allowed_tokens allows no token"},
  };
  for (const WrongPlan& wrong : cases) {
    StepPlan plan = Next();
    wrong.damage(plan);
    const Status status = runner_->Execute(plan).status;
    EXPECT_FALSE(status.ok()) << wrong.message;
    EXPECT_THAT(status.message(), HasSubstr(wrong.message));
  }
  // The answer goes on, as it would have.
  auto other = ModelRunner::Create(checkpoint_.Config(), *ops_, communicator_, {});
  ASSERT_TRUE(other.ok()) << other.status();
  RunAlone(**other, {plans_[0]});
  const std::vector<StepPlan> rest(plans_.begin() + 1, plans_.end());
  EXPECT_EQ(SampledFor(1, RunAlone(*runner_, rest)), SampledFor(1, RunAlone(**other, rest)));
}

TEST_F(PlanCheck, WrongStartsAreRefused) {
  const WrongPlan cases[] = {
      {[](StepPlan& p) { p.chunks[0].start[0].sampling.num_logprobs = 21; },
       "num_logprobs is 21; it must be from -1 to 20"},
      {[](StepPlan& p) { p.chunks[0].start[0].prompt_token_ids = {-1}; },
       "prompt_token_ids holds -1"},
      {[](StepPlan& p) { p.chunks[0].start[0].output_token_ids = {98}; },
       "output_token_ids holds 98"},
      {[](StepPlan& p) { p.chunks[0].start[0].biases = {{98, 1}}; },
       "biases holds token 98 behind -1; ids must rise, to at most 97"},
      {[](StepPlan& p) { p.chunks[0].start[0].biases = {{4, 1}, {4, 1}}; },
       "biases holds token 4 behind 4"},
      {[](StepPlan& p) { p.chunks[0].start[0].biases = {{4, -100.5f}}; },
       "the bias of token 4 is -100.5; it must be from -100 to 100"},
      {[](StepPlan& p) { p.chunks[0].start[0].biases = {{4, std::nanf("")}}; },
       "the bias of token 4 is nan"},
      {[](StepPlan& p) { p.chunks[0].start[0].biases.resize(301); },
       "biases has 301 tokens; at most 300 are allowed"},
      {[](StepPlan& p) {
         p.chunks[0].start[0].prompt_token_ids.assign(100, 1);
         p.chunks[0].start[0].output_token_ids.assign(29, 1);
       },
       "have 129 tokens; at most 128 are allowed"},
      {[](StepPlan& p) {
         p.chunks[0].start[0].prompt_token_ids.assign(100, 1);
         p.chunks[0].output_position = 29;
       },
       "output_position is 29; it must be from 0 to 28"},
      {[](StepPlan& p) {
         p.chunks[0].start[0].sampling.repetition_penalty = 2;
         p.chunks[0].output_position = 1;
       },
       "penalties know only 0 tokens"},
  };
  for (const WrongPlan& wrong : cases) {
    StepPlan plan = MakePlans({MakeAnswer(5, /*prompt_len=*/9, /*first_block=*/20)}, 64)[0];
    plan.step = 2;
    wrong.damage(plan);
    EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr(wrong.message));
  }
}

// One is known.
TEST_F(PlanCheck, ThereAreNoMoreSequencesThanMayBeAtOnce) {
  StepPlan plan{.step = 2};
  for (int64_t id = 2; id <= 9; ++id) {
    plan.chunks.push_back(MakeChunk(MakeAnswer(id, 4, static_cast<int32_t>(20 + 4 * id)), 0, 4));
  }
  EXPECT_THAT(runner_->Execute(plan).status.message(),
              HasSubstr("there would be 9 sequences; at most 8 are allowed at once"));
  plan.released_sequences = {1};
  EXPECT_EQ(runner_->Execute(plan).status, OkStatus());
}

TEST_F(PlanCheck, TwoSequencesCannotWriteOneBlock) {
  StepPlan plan = Next();
  plan.chunks.push_back(MakeChunk(MakeAnswer(2, /*prompt_len=*/5, /*first_block=*/12), 0, 5));
  EXPECT_THAT(runner_->Execute(plan).status.message(),
              HasSubstr("sequence 2: block 12 is written twice by the plan"));
}

TEST_F(PlanCheck, ThePlanHasABoundOfTokensAndSequences) {
  StepPlan plan = Next();
  const Answer other = MakeAnswer(2, /*prompt_len=*/64, /*first_block=*/20);
  plan.chunks.push_back(MakeChunk(other, 0, 64));
  EXPECT_THAT(runner_->Execute(plan).status.message(),
              HasSubstr("the plan has 65 tokens; at most 64 are allowed"));
  plan.chunks.assign(9, Next().chunks[0]);
  EXPECT_THAT(runner_->Execute(plan).status.message(),
              HasSubstr("the plan has 9 sequences; at most 8 are allowed"));
}

TEST_F(PlanCheck, WrongImageItemsAreRefused) {
  const struct {
    std::vector<EncodeImageItem> items;
    const char* message;
  } cases[] = {
      {{Item(2, 0, 1)}, "image 02000000: its pixels were not sent"},
      {{Item(1, 0, 1, 0, /*rank=*/1)}, "image 01000000: rank is 1; there are 1"},
      {{Item(1, 0, 3)}, "blocks 0 to 3; they must rise within 2"},
      {{Item(1, 1, 1)}, "blocks 1 to 1; they must rise within 2"},
      {{Item(1, -1, 1)}, "blocks -1 to 1; they must rise within 2"},
      {{Item(1, 1, 2)}, "which has not just run the blocks of this image before it"},
      {{Item(1, 0, 2, 29)}, "4 embeddings from row 29 of 32"},
      {{Item(1, 0, 2, -1)}, "4 embeddings from row -1 of 32"},
  };
  for (const auto& c : cases) {
    StepPlan plan = Next();
    plan.images = c.items;
    EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr(c.message));
  }
  StepPlan plan = Next();
  plan.images = {Item(1, 0, 1)};
  plan.images[0].adapter = 1;
  EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr("its adapter is in slot 1 of 0"));
  plan.images[0].adapter = -1;
  plan.released_images = {Hash(1)};
  EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr("released by the same plan"));
}

// A rank has one image in hand: another one in between means to start over.
TEST_F(PlanCheck, AnImageGoesOnOnlyWhereItStopped) {
  ASSERT_EQ(runner_->PutImage(Hash(2), 28, 28, std::vector<uint8_t>(28 * 28 * 3)), OkStatus());
  StepPlan plan = Next();
  plan.images = {Item(1, 0, 1)};
  ASSERT_EQ(runner_->Execute(plan).status, OkStatus());
  plan = plans_[2];
  plan.images = {Item(2, 0, 2), Item(1, 1, 2)};
  EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr("has not just run the blocks"));
  plan.images = {Item(1, 1, 2), Item(2, 0, 2, 4)};
  EXPECT_EQ(runner_->Execute(plan).status, OkStatus());
  plan = plans_[3];
  plan.images = {Item(2, 1, 2, 4)};  // It is finished.
  EXPECT_THAT(runner_->Execute(plan).status.message(), HasSubstr("has not just run the blocks"));
}

}  // namespace
}  // namespace longhand::runner
