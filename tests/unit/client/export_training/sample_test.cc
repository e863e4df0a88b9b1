#include "client/export_training/sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

TEST(Neutral, MarksThatTrainingWouldMisreadAreChangedAndOthersNot) {
  int64_t count = 0;
  EXPECT_EQ(Neutral("<image> <video><audio> <|im_end|><|image_pad|>", &count),
            "[image] [video][audio] [im_end][image_pad]");
  EXPECT_EQ(count, 5);
  EXPECT_EQ(Neutral("a < b <| c |> <||> <|x <b> <Image> <", &count),
            "a < b <| c |> <||> <|x <b> <Image> <");
  EXPECT_EQ(count, 5);
}

Sample WithPictures(size_t count, const std::string& question, const std::string& answer) {
  Sample sample{.turns = {{true, question}, {false, answer}}};
  sample.pictures.resize(count);
  return sample;
}

TEST(Prepare, PicturesGoAfterTheInstructionUnlessTheRowPlacesThemAll) {
  int64_t count = 0;
  Sample sample = WithPictures(2, "Look.", "I <image> see.");
  ASSERT_TRUE(Prepare(sample, false, &count).ok());
  EXPECT_EQ(sample.turns[0].text, "Look.<image><image>");
  EXPECT_EQ(sample.turns[1].text, "I [image] see.");
  sample = WithPictures(2, "Look.", "Yes.");
  ASSERT_TRUE(Prepare(sample, true, &count).ok());
  EXPECT_EQ(sample.turns[0].text, "<image><image>Look.");
  sample = WithPictures(2, "This <image> or <image>?", "Yes.");
  ASSERT_TRUE(Prepare(sample, false, &count).ok());
  EXPECT_EQ(sample.turns[0].text, "This <image> or <image>?");
  sample = WithPictures(1, "This <image> or <image>?", "Yes.");
  ASSERT_TRUE(Prepare(sample, false, &count).ok());
  EXPECT_EQ(sample.turns[0].text, "This [image] or [image]?<image>");
}

TEST(Prepare, TurnsMustAlternateAndEndAsTheStageWants) {
  int64_t count = 0;
  Sample sample{.turns = {{true, "a"}, {true, "b"}}};
  EXPECT_THAT(Prepare(sample, false, &count).message(), HasSubstr("message 2 is the user's"));
  sample.turns = {{true, "a"}, {false, ""}};
  EXPECT_THAT(Prepare(sample, false, &count).message(), HasSubstr("message 2 is empty"));
  sample.turns = {{true, "a"}};
  EXPECT_THAT(Prepare(sample, false, &count).message(), HasSubstr("without an answer"));
  sample.chosen = "c";
  EXPECT_THAT(Prepare(sample, false, &count).message(), HasSubstr("two answers"));
  sample.rejected = "r";
  EXPECT_TRUE(Prepare(sample, false, &count).ok());
}

}  // namespace
}  // namespace longhand::client
