#include "proto/step_plan_wire.h"

#include <gtest/gtest.h>

namespace longhand {
namespace {

StepPlan FullPlan() {
  StepPlan plan{.epoch = 3, .step = 41, .released_sequences = {7, 9}};
  ContentHash image{};
  image[0] = 0xff;
  image[31] = 0x01;
  plan.released_images = {image};
  plan.swaps_out = {{3, 1}};
  plan.swaps_in = {{2, 4}, {0, 5}};
  plan.block_copies = {{9, 6}};
  plan.images = {{image, 1, 4, 8, 512, 3}};
  SequenceChunk chunk{.sequence_id = 5,
                      .token_ids = {kTokenOnDevice, 151655},
                      .positions = {0, 0, 0, 1, 2, 3},
                      .num_computed_tokens = 1 << 20,
                      .first_block_idx = 2,
                      .new_block_ids = {11, 12},
                      .image_spans = {{1, 1, 512}},
                      .sample = true,
                      .output_position = 17,
                      .suppressed_token_ids = {1, 2},
                      .allowed_tokens = {0xfedcba98u, 1},
                      .score_token_ids = {-1, 4},
                      .num_score_top = 2};
  chunk.start.push_back({SamplingParams{.temperature = 0.6f,
                                        .top_p = 0.95f,
                                        .top_k = 20,
                                        .min_p = 0.05f,
                                        .repetition_penalty = 1.05f,
                                        .presence_penalty = -1,
                                        .frequency_penalty = 2,
                                        .seed = 0xfedcba9876543210u,
                                        .choice = 2,
                                        .num_logprobs = 0},
                         {3, 4},
                         {5},
                         /*adapter=*/2,
                         {{7, -100}, {151643, 0.5f}}});
  plan.chunks = {chunk};
  return plan;
}

TEST(StepPlanWire, APlanSurvivesTheWireFieldByField) {
  const StepPlan plan = FullPlan();
  worker::v1::ExecuteStepRequest wire;
  ToWire(plan, &wire);
  worker::v1::ExecuteStepRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(wire.SerializeAsString()));
  const Result<StepPlan> back = FromWire(parsed);
  ASSERT_TRUE(back.ok()) << back.status();

  // Serialised again it must be the same bytes, and no field may have stayed at its default.
  worker::v1::ExecuteStepRequest again;
  ToWire(*back, &again);
  EXPECT_EQ(again.SerializeAsString(), wire.SerializeAsString());
  EXPECT_EQ(back->released_images, plan.released_images);
  EXPECT_EQ(back->swaps_out, plan.swaps_out);
  EXPECT_EQ(back->swaps_in, plan.swaps_in);
  EXPECT_EQ(back->block_copies, plan.block_copies);
  const SequenceChunk& chunk = back->chunks[0];
  EXPECT_EQ(chunk.token_ids, plan.chunks[0].token_ids);
  EXPECT_EQ(chunk.positions, plan.chunks[0].positions);
  EXPECT_EQ(chunk.num_computed_tokens, 1 << 20);
  EXPECT_EQ(chunk.new_block_ids, plan.chunks[0].new_block_ids);
  EXPECT_EQ(chunk.image_spans[0].cache_row, 512);
  EXPECT_EQ(chunk.score_token_ids, plan.chunks[0].score_token_ids);
  EXPECT_EQ(chunk.num_score_top, 2);
  EXPECT_EQ(chunk.suppressed_token_ids, plan.chunks[0].suppressed_token_ids);
  EXPECT_EQ(chunk.allowed_tokens, plan.chunks[0].allowed_tokens);
  ASSERT_EQ(chunk.start.size(), 1u);
  const SamplingParams& sampling = chunk.start[0].sampling;
  EXPECT_EQ(sampling.temperature, 0.6f);
  EXPECT_EQ(sampling.top_k, 20);
  EXPECT_EQ(sampling.min_p, 0.05f);
  EXPECT_EQ(sampling.repetition_penalty, 1.05f);
  EXPECT_EQ(sampling.presence_penalty, -1);
  EXPECT_EQ(sampling.frequency_penalty, 2);
  EXPECT_EQ(sampling.seed, 0xfedcba9876543210u);
  EXPECT_EQ(sampling.choice, 2u);
  EXPECT_EQ(sampling.num_logprobs, 0);
  EXPECT_EQ(chunk.start[0].output_token_ids, std::vector<int32_t>{5});
  EXPECT_EQ(chunk.start[0].adapter, 2);
  EXPECT_EQ(chunk.start[0].biases, plan.chunks[0].start[0].biases);
  EXPECT_EQ(back->images[0].adapter, 3);
}

TEST(StepPlanWire, WhatNamesNoAdapterHasNone) {
  worker::v1::ExecuteStepRequest wire;
  wire.add_images()->set_image(std::string(32, 'x'));
  wire.add_chunks()->mutable_start();
  const Result<StepPlan> plan = FromWire(wire);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->images[0].adapter, -1);
  EXPECT_EQ(plan->chunks[0].start[0].adapter, -1);
}

TEST(StepPlanWire, AShortContentHashIsRefusedWithItsLength) {
  worker::v1::ExecuteStepRequest wire;
  wire.add_images()->set_image("short");
  const Result<StepPlan> plan = FromWire(wire);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().message(), "a content hash has 5 bytes; it must have 32");
}

TEST(StepPlanWire, AResultKeepsItsErrorTokensAndTimes) {
  StepResult result{.epoch = 2,
                    .step = 8,
                    .rank = 1,
                    .status = Internal("out of blocks"),
                    .execute_us = 1200,
                    .communicate_us = 30};
  result.sequences = {
      {.sequence_id = 4,
       .tokens = {{.token_id = 77, .logprob = -0.5f, .top = {{77, -0.5f}, {3, -1.0f}}}},
       .score_logprobs = {0, -2.5f},
        .score_top = {{0, 0}, {7, -0.25f}}}};
  worker::v1::ExecuteStepResponse wire;
  ToWire(result, &wire);
  const StepResult back = FromWire(wire);
  EXPECT_EQ(back.status, result.status);
  EXPECT_EQ(back.rank, 1);
  EXPECT_EQ(back.execute_us, 1200);
  EXPECT_EQ(back.communicate_us, 30);
  ASSERT_EQ(back.sequences.size(), 1u);
  EXPECT_EQ(back.sequences[0].tokens[0].top[1].token_id, 3);
  EXPECT_EQ(back.sequences[0].score_logprobs, result.sequences[0].score_logprobs);
  ASSERT_EQ(back.sequences[0].score_top.size(), 2u);
  EXPECT_EQ(back.sequences[0].score_top[1].token_id, 7);
  EXPECT_EQ(back.sequences[0].score_top[1].logprob, -0.25f);
}

}  // namespace
}  // namespace longhand
