#include "coordinator/input/placeholders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace longhand::input {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kPad = 9;

TEST(Placeholders, EachIsRepeatedForItsImage) {
  const std::vector<int64_t> sizes = {3, 2};
  const auto prompt = ExpandPlaceholders({1, kPad, 2, kPad}, kPad, sizes);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->token_ids, ElementsAre(1, kPad, kPad, kPad, 2, kPad, kPad));
  EXPECT_THAT(prompt->images, ElementsAre(PlacedImage{1, 3}, PlacedImage{5, 2}));
}

TEST(Placeholders, ImagesMayTouch) {
  const std::vector<int64_t> sizes = {1, 2};
  const auto prompt = ExpandPlaceholders({kPad, kPad}, kPad, sizes);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->images, ElementsAre(PlacedImage{0, 1}, PlacedImage{1, 2}));
}

// prompt_token_ids of an answer are such a prompt.
TEST(Placeholders, AnExpandedPromptStaysAsItIs) {
  const std::vector<int64_t> sizes = {3, 2};
  const std::vector<int32_t> ids = {1, kPad, kPad, kPad, 2, kPad, kPad};
  const auto prompt = ExpandPlaceholders(ids, kPad, sizes);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->token_ids, ids);
  EXPECT_THAT(prompt->images, ElementsAre(PlacedImage{1, 3}, PlacedImage{5, 2}));
}

TEST(Placeholders, AnImageTornApartIsRefused) {
  const std::vector<int64_t> sizes = {3, 2};
  const auto prompt = ExpandPlaceholders({kPad, kPad, 2, kPad, kPad, kPad}, kPad, sizes);
  EXPECT_EQ(prompt.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(prompt.status().message(),
              HasSubstr("image 0 has 2 image tokens in a row; it takes 3"));
}

TEST(Placeholders, AWrongNumberIsRefusedWithTheNumbers) {
  const std::vector<int64_t> sizes = {3, 2};
  EXPECT_EQ(ExpandPlaceholders({kPad}, kPad, sizes).status().message(),
            "the prompt has 1 image placeholders for 2 images; it must have one for each, or one "
            "for each of their 5 tokens");
  EXPECT_EQ(ExpandPlaceholders({kPad}, kPad, {}).status().message(),
            "the prompt has 1 image placeholders for 0 images; it must have one for each");
}

}  // namespace
}  // namespace longhand::input
