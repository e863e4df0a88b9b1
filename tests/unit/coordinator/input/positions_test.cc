#include "coordinator/input/positions.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "tests/parity/recording.h"

namespace longhand::input {
namespace {

using parity::TestCheckpoint;
using parity::TestRecording;

TEST(Positions, TextCountsUpOnAllAxes) {
  const PromptPositions result = ComputePositions(3, {}, {});
  EXPECT_EQ(result.positions, (std::vector<int32_t>{0, 0, 0, 1, 1, 1, 2, 2, 2}));
  EXPECT_EQ(result.rope_delta, 0);
}

// Two tokens of text, a picture of 2 rows and 3 columns, one token of text: the text goes on at 2
// + 3.
TEST(Positions, AfterAPictureTextGoesOnPastItsLongerSide) {
  const std::vector<PlacedImage> images = {{.offset = 2, .num_tokens = 6}};
  const std::vector<TokenGrid> grids = {{.height = 2, .width = 3}};
  const PromptPositions result = ComputePositions(9, images, grids);
  EXPECT_EQ(result.positions, (std::vector<int32_t>{0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 2, 2,
                                                    4, 2, 3, 2, 2, 3, 3, 2, 3, 4, 5, 5, 5}));
  EXPECT_EQ(result.rope_delta, 6 - 9);
}

// Pictures side by side, first and last in the prompt.
TEST(Positions, PicturesMayTouchEachOtherAndTheEnds) {
  const std::vector<PlacedImage> images = {{.offset = 0, .num_tokens = 2},
                                           {.offset = 2, .num_tokens = 1}};
  const std::vector<TokenGrid> grids = {{.height = 2, .width = 1}, {.height = 1, .width = 1}};
  const PromptPositions result = ComputePositions(3, images, grids);
  EXPECT_EQ(result.positions, (std::vector<int32_t>{0, 0, 0, 0, 1, 0, 2, 2, 2}));
  EXPECT_EQ(result.rope_delta, 0);
}

// The recorded prompts hold each picture's placeholders in one run; pictures are told apart by
// their sizes.
TEST(Positions, AreTheRecordedOnesInEveryCase) {
  const parity::Recording& recording = TestRecording();
  const Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
  ASSERT_TRUE(config.ok()) << config.status();
  int num_images = 0;
  for (const std::string& name : recording.CaseNames()) {
    SCOPED_TRACE(name);
    const std::vector<int32_t> ids = recording.Ints("case/" + name + "/input_ids");
    std::vector<PlacedImage> images;
    std::vector<TokenGrid> grids;
    int64_t token = 0;
    for (const std::string& file : recording.CaseImages(name)) {
      const std::vector<int32_t> thw = recording.Ints("img/" + file + "/grid_thw");
      grids.push_back({thw[1] / 2, thw[2] / 2});
      while (ids.at(token) != config->image_token_id) ++token;
      images.push_back({.offset = token, .num_tokens = grids.back().num_tokens()});
      token += grids.back().num_tokens();
      ++num_images;
    }
    const int64_t num_tokens = static_cast<int64_t>(ids.size());
    const PromptPositions result = ComputePositions(num_tokens, images, grids);
    const std::vector<int32_t> recorded =
        recording.Ints("case/" + name + "/position_ids");  // [3, N]
    ASSERT_EQ(result.positions.size(), recorded.size());
    for (int64_t i = 0; i < num_tokens; ++i) {
      for (int64_t axis = 0; axis < 3; ++axis) {
        ASSERT_EQ(result.positions[i * 3 + axis], recorded[axis * num_tokens + i])
            << "token " << i << ", axis " << axis;
      }
    }
    EXPECT_EQ(result.rope_delta, recording.Case(name).at("rope_delta").to_number<int32_t>());
  }
  EXPECT_GE(num_images, 8);
}

}  // namespace
}  // namespace longhand::input
