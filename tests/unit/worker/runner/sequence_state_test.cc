#include "worker/runner/sequence_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::runner {
namespace {

using ::testing::ElementsAre;

SequenceChunk Chunk(int32_t first_block_idx, std::vector<int32_t> blocks) {
  return {.sequence_id = 7, .first_block_idx = first_block_idx, .new_block_ids = std::move(blocks)};
}

TEST(SequenceState, BlocksFillTheTableFromTheGivenIndex) {
  SequenceStates states;
  ApplyChunk(Chunk(0, {5, 6}), &states);
  ApplyChunk(Chunk(2, {9}), &states);
  EXPECT_THAT(states[7].block_table, ElementsAre(5, 6, 9));
  ApplyChunk(Chunk(1, {4}), &states);
  EXPECT_THAT(states[7].block_table, ElementsAre(5, 4, 9));
  ApplyChunk(Chunk(0, {}), &states);
  EXPECT_THAT(states[7].block_table, ElementsAre(5, 4, 9));
}

TEST(SequenceState, AStartForgetsWhatWasKnown) {
  SequenceStates states;
  NoteSampled(Chunk(0, {}), &ApplyChunk(Chunk(0, {5, 6}), &states));
  states[7].history_row = 2;
  SequenceChunk chunk = Chunk(0, {8});
  chunk.start.push_back(
      {.sampling = {.presence_penalty = 1}, .output_token_ids = {1, 2}, .biases = {{4, 0.5f}}});
  ApplyChunk(chunk, &states);
  EXPECT_THAT(states[7].block_table, ElementsAre(8));
  EXPECT_FALSE(states[7].last_output_position.has_value());
  EXPECT_EQ(states[7].output_len, 2);
  EXPECT_EQ(states[7].history_row, 2);
  EXPECT_THAT(states[7].biases, ElementsAre(TokenBias{4, 0.5f}));
  chunk.start = {{.sampling = {.temperature = 0}}};
  ApplyChunk(chunk, &states);
  EXPECT_THAT(states[7].biases, ElementsAre());
}

TEST(SequenceState, SamplingAnEarlierPositionAgainDropsTheAnswerBehindIt) {
  SequenceStates states;
  SequenceChunk chunk = Chunk(0, {8});
  chunk.start.push_back({.sampling = {.presence_penalty = 1}, .output_token_ids = {1, 2, 3}});
  chunk.sample = true;
  chunk.output_position = 1;
  SequenceState& state = ApplyChunk(chunk, &states);
  EXPECT_EQ(state.output_len, 3);
  NoteSampled(chunk, &state);
  EXPECT_EQ(state.output_len, 2);
  EXPECT_EQ(state.last_output_position, 1);
}

}  // namespace
}  // namespace longhand::runner
