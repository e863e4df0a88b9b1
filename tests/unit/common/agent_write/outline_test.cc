#include "common/agent_write/outline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Line(int number, const std::string& words) {
  return "Section " + std::to_string(number) + " - Main Point: the mill - Word Count: " + words;
}

TEST(Outline, EveryLineIsASectionWithItsWords) {
  const auto outline = ParseOutline(Line(1, "400") + "\n" + Line(2, "1,200") + "\n");
  ASSERT_TRUE(outline.ok()) << outline.status();
  ASSERT_EQ(outline->size(), 2u);
  EXPECT_EQ((*outline)[0].step, Line(1, "400"));
  EXPECT_EQ((*outline)[0].num_words, 400);
  EXPECT_EQ((*outline)[1].num_words, 1200);
}

// What larger models make of the form: an introduction, marks, blank lines, a count on its own
// line, "about", full-width colons, a last remark.
TEST(Outline, MarksAndRemarksAroundTheSectionsAreDropped) {
  const auto outline = ParseOutline(
      "Here is the outline.\r\n\r\n"
      "**Section 1 - Main Point: as in Section 2 of the brief - Word Count: about 300 "
      "words**\r\n\r\n"
      "- Section 2: the town\n"
      "  - Word Count：250\n"
      "  - (the same as before)\n"
      "### Section 3 – 灯塔 – Word Count: 200字\n\n"
      "That makes 750 words in 3 sections.");
  ASSERT_TRUE(outline.ok()) << outline.status();
  ASSERT_EQ(outline->size(), 3u);
  EXPECT_EQ((*outline)[0].step,
            "Section 1 - Main Point: as in Section 2 of the brief - Word Count: about 300 words");
  EXPECT_EQ((*outline)[0].num_words, 300);
  EXPECT_EQ((*outline)[1].step, "Section 2: the town\nWord Count：250");
  EXPECT_EQ((*outline)[1].num_words, 250);
  EXPECT_EQ((*outline)[2].step, "Section 3 – 灯塔 – Word Count: 200字");
  EXPECT_EQ((*outline)[2].num_words, 200);
}

TEST(Outline, OnlyTheStartOfALineStartsASection) {
  const auto outline = ParseOutline(
      "Section 1 - Main Point: more than Section 2: - Word Count: 3\nSection 9 has no mark\n");
  ASSERT_TRUE(outline.ok()) << outline.status();
  EXPECT_EQ(outline->size(), 1u);
}

std::string Fault(const std::string& plan) {
  return std::string(ParseOutline(plan).status().message());
}

TEST(Outline, WhatIsNoOutlineIsSaidWithItsBeginning) {
  EXPECT_THAT(Fault(""), HasSubstr("no line begins with 'Section 1 -'"));
  EXPECT_THAT(Fault("\n Once\tupon a time\nthere was"), HasSubstr("'Once upon a time there was'"));
  const std::string long_noise = Fault("词" + std::string(57, 'a') + "词 and more");
  EXPECT_THAT(long_noise, HasSubstr("'词" + std::string(57, 'a') + "...'"));
}

TEST(Outline, AbsurdCountsAndNumbersAreRefused) {
  EXPECT_THAT(Fault("Section 1 - Main Point: the mill\n" + Line(2, "300")),
              HasSubstr("section 1 has no word count"));
  EXPECT_THAT(Fault(Line(1, "300") + "\nSection 2 - Main Point: - Word Count: many"),
              HasSubstr("section 2 has no word count"));
  EXPECT_THAT(Fault(Line(1, "0")), HasSubstr("section 1 has no word count"));
  EXPECT_THAT(Fault(Line(1, "10001")), HasSubstr("10001 words; at most 10000"));
  EXPECT_THAT(Fault(Line(1, "99999999999999999999999")), HasSubstr("at most 10000"));
  EXPECT_TRUE(ParseOutline(Line(1, "10000")).ok());
  EXPECT_THAT(Fault(Line(1, "300") + "\n" + Line(3, "300")),
              HasSubstr("section 3 stands where section 2 was expected"));
  EXPECT_THAT(Fault(Line(2, "300")), HasSubstr("section 2 stands where section 1 was expected"));
}

TEST(Outline, SixtyFourSectionsAreTheMost) {
  std::string plan;
  for (int i = 1; i <= 64; ++i) plan += Line(i, "200") + "\n";
  EXPECT_TRUE(ParseOutline(plan).ok());
  EXPECT_THAT(Fault(plan + Line(65, "200")), HasSubstr("more than 64 sections"));
}

std::vector<int64_t> Shares(const std::vector<int64_t>& planned, int64_t total) {
  std::vector<OutlineSection> outline;
  for (const int64_t num_words : planned) outline.push_back({.num_words = num_words});
  return ShareWords(outline, total);
}

TEST(Outline, SharesAddUpAndTheLargestRemaindersGetWhatRoundingLeaves) {
  EXPECT_THAT(Shares({400, 600}, 1000), ElementsAre(400, 600));
  EXPECT_THAT(Shares({400, 600}, 500), ElementsAre(200, 300));
  EXPECT_THAT(Shares({1, 1, 1}, 11), ElementsAre(4, 4, 3));
  EXPECT_THAT(Shares({300, 500, 200}, 7), ElementsAre(2, 4, 1));  // 2.1, 3.5, 1.4
  EXPECT_THAT(Shares({10000, 10000}, 640000), ElementsAre(320000, 320000));
}

TEST(Outline, NoSectionIsLeftWithoutAWord) {
  EXPECT_THAT(Shares({1, 1000, 1}, 10), ElementsAre(1, 8, 1));
  EXPECT_THAT(Shares({5, 5, 5}, 2), ElementsAre(1, 1, 1));
}

TEST(Outline, AStepTakesAnotherWordCount) {
  EXPECT_EQ(WithWordCount(Line(1, "400"), 385), Line(1, "385"));
  EXPECT_EQ(WithWordCount("Section 2: 3 mills\nWord Count：about 1,250 words", 90),
            "Section 2: 3 mills\nWord Count：about 90 words");
  EXPECT_EQ(WithWordCount(Line(1, "1,200"), 1200), Line(1, "1,200"));
}

}  // namespace
}  // namespace longhand
