#include "client/eval/score_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longhand::client {
namespace {

Judgement All(int score) {
  Judgement judgement;
  judgement.scores.fill(score);
  return judgement;
}

ScoredRow Row(double wanted, int64_t written, int score) {
  return {.wanted = wanted, .written = written, .judgement = All(score)};
}

TEST(ScoreTable, GroupsAreThePublishedOnesAndTheLastTakesWhatIsLeft) {
  EXPECT_EQ(LengthGroupOf(0), 0u);
  EXPECT_EQ(LengthGroupOf(1499), 0u);
  EXPECT_EQ(LengthGroupOf(1500), 1u);
  EXPECT_EQ(LengthGroupOf(2000), 2u);
  EXPECT_EQ(LengthGroupOf(3000), 3u);
  EXPECT_EQ(LengthGroupOf(32000), 3u);
  EXPECT_EQ(LengthGroupOf(1000.5), 3u);
}

TEST(ScoreTable, MeansAreOverRowsAndNotOverGroups) {
  const ScoreTable table =
      ScoreTable::Of({Row(1000, 1000, 5), Row(1000, 500, 3), Row(2000, 2000, 1)}, false);
  EXPECT_EQ(table.all.count, 3);
  EXPECT_NEAR(table.all.length_code, (100 + 66.6667 + 100) / 3, 1e-3);
  EXPECT_NEAR(table.all.length_paper, (100 + 50 + 100) / 3.0, 1e-3);
  EXPECT_DOUBLE_EQ(table.all.quality, 50);
  EXPECT_DOUBLE_EQ(table.groups[0].quality, 75);
  EXPECT_DOUBLE_EQ(table.groups[2].length_code, 100);
  EXPECT_DOUBLE_EQ(table.dimensions[3], 3);
}

TEST(ScoreTable, ARefusedRowLeavesTheTableAltogether) {
  ScoredRow refused = Row(1000, 1, 1);
  refused.state = RowState::kRefused;
  const ScoreTable table = ScoreTable::Of({Row(1000, 1000, 5), refused}, true);
  EXPECT_EQ(table.all.count, 1);
  EXPECT_EQ(table.num_refused, 1);
  EXPECT_DOUBLE_EQ(table.all.length_code, 100);
}

TEST(ScoreTable, AFailedRowIsNoNumberOnlyWhereThePublishedCodeIsFollowed) {
  const ScoredRow failed{.state = RowState::kFailed, .wanted = 2000, .written = 2000};
  const std::vector<ScoredRow> rows = {Row(1000, 1000, 5), failed};
  const ScoreTable ours = ScoreTable::Of(rows, false);
  EXPECT_DOUBLE_EQ(ours.all.quality, 100);
  EXPECT_EQ(ours.num_failed, 1);
  const ScoreTable published = ScoreTable::Of(rows, true);
  EXPECT_TRUE(std::isnan(published.all.quality));
  EXPECT_TRUE(std::isnan(published.groups[2].quality));
  EXPECT_DOUBLE_EQ(published.groups[0].quality, 100);
}

TEST(ScoreTable, TheRowForLatexIsThePublishedOne) {
  const ScoreTable table = ScoreTable::Of({Row(1000, 1000, 5), Row(1500, 1500, 3)}, false);
  EXPECT_EQ(table.LatexRow("a-model"),
            "\\texttt{a-model} & 87.5 & 100.0 & 75.0 & 100.0 & 100.0 & 100.0 & 50.0 & 0.0 & 0.0 & "
            "0.0 & 0.0 \\\\");
}

}  // namespace
}  // namespace longhand::client
