#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/eval/ruler_plot.h"
#include "client/eval/ruler_report.h"
#include "client/eval/ruler_rows.h"

namespace longhand::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(WithLength, TheNumberIsExchangedWhereverItStandsAlone) {
  EXPECT_EQ(*WithLength("Write a 500-word story.", 500, 8000), "Write a 8000-word story.");
  EXPECT_EQ(*WithLength("看图写一篇500字的文章。", 500, 16000), "看图写一篇16000字的文章。");
  EXPECT_EQ(*WithLength("1,000 words, really 1,000", 1000, 32000), "32000 words, really 32000");
  EXPECT_FALSE(WithLength("a 1500-word or 5000-word story of 2,500 words", 500, 8000).has_value());
}

TEST(RulerRows, AnIdMayHaveAnAtSign) {
  EXPECT_TRUE(RulerRows::IsExtension("7@2000"));
  EXPECT_TRUE(RulerRows::IsExtension("\"deck@3\"@2000"));
  for (const char* key : {"7", "7#2", "\"deck@3\"", "\"@3\"#2"})
    EXPECT_FALSE(RulerRows::IsExtension(key)) << key;
}

TEST(RulerReport, OneLineForEachLength) {
  const std::vector<RulerLine> lines =
      LinesOf({{1000, 900, false}, {500, 500, false}, {1000, 1100, true}});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].wanted, 500);
  EXPECT_EQ(lines[1].count, 2);
  EXPECT_DOUBLE_EQ(lines[1].mean, 1000);
  EXPECT_EQ(lines[1].min, 900);
  EXPECT_EQ(lines[1].max, 1100);
  EXPECT_EQ(lines[1].num_cut_off, 1);
  EXPECT_NEAR(lines[1].score_code, (96.2963 + 95) / 2, 1e-3);
}

// The series lies on the dashed line where words are written as they were asked for.
TEST(RulerPlot, EqualLengthsLieOnTheDiagonal) {
  const std::string plot = PlotRuler({{"a <model>", {{500, 500}, {4000, 4000}}}});
  EXPECT_THAT(plot, HasSubstr("a &lt;model>"));
  EXPECT_THAT(plot, HasSubstr(">4k</text>"));
  EXPECT_THAT(plot, Not(HasSubstr(">8k</text>")));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
}

TEST(RulerPlot, AxesGoDownToTheShortestLength) {
  const std::string plot = PlotRuler({{"short", {{100, 100}, {1000, 1000}}}});
  EXPECT_THAT(plot, HasSubstr(">200</text>"));
  EXPECT_THAT(PlotRuler({{"long", {{500, 500}}}}), Not(HasSubstr(">200</text>")));
}

TEST(RulerPlot, TextsOfNoWordsAreDrawnAtTheEdge) {
  const std::string plot = PlotRuler({{"silent", {{500, 0}}}, {"none", {}}});
  EXPECT_THAT(plot, Not(HasSubstr("inf")));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace longhand::client
