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
  RecordSampledToken(3, &ApplyChunk(Chunk(0, {5, 6}), &states));
  SequenceChunk chunk = Chunk(0, {8});
  chunk.start.push_back({.sampling = {.presence_penalty = 1}, .output_token_ids = {1, 2}});
  ApplyChunk(chunk, &states);
  EXPECT_THAT(states[7].block_table, ElementsAre(8));
  EXPECT_FALSE(states[7].last_token.has_value());
  EXPECT_THAT(states[7].output_token_ids, ElementsAre(1, 2));
}

TEST(SequenceState, SamplingAnEarlierPositionAgainReplacesTheHistoryBehindIt) {
  SequenceStates states;
  SequenceChunk chunk = Chunk(0, {8});
  chunk.start.push_back({.sampling = {.presence_penalty = 1}, .output_token_ids = {1, 2, 3}});
  chunk.sample = true;
  chunk.output_position = 1;
  SequenceState& state = ApplyChunk(chunk, &states);
  EXPECT_THAT(state.output_token_ids, ElementsAre(1));
  RecordSampledToken(9, &state);
  EXPECT_THAT(state.output_token_ids, ElementsAre(1, 9));
  EXPECT_EQ(state.last_token, 9);
}

TEST(SequenceState, WithoutPenaltiesNoHistoryIsKept) {
  SequenceStates states;
  SequenceState& state = ApplyChunk(Chunk(0, {8}), &states);
  RecordSampledToken(9, &state);
  EXPECT_TRUE(state.output_token_ids.empty());
  EXPECT_EQ(state.last_token, 9);
}

}  // namespace
}  // namespace longhand::runner
