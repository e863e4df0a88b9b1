#include "client/eval/score_table.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "common/length_score.h"

namespace longhand::client {
namespace {

void Add(const ScoredRow& row, GroupScores* sums) {
  ++sums->count;
  sums->length_code += LengthScore(row.written, row.wanted);
  sums->length_paper += PaperLengthScore(row.written, row.wanted);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (row.state == RowState::kFailed) sums->quality += nan;
  if (row.judgement) sums->quality += row.judgement->Quality();
}

void Divide(GroupScores* sums) {
  const double count = sums->count == 0 ? 1 : static_cast<double>(sums->count);
  sums->length_code /= count;
  sums->length_paper /= count;
  sums->quality /= count;
}

}  // namespace

size_t LengthGroupOf(double wanted) {
  if (wanted != std::floor(wanted) || wanted < 0) return 3;
  return wanted < 1500 ? 0 : wanted < 2000 ? 1 : wanted < 3000 ? 2 : 3;
}

ScoreTable ScoreTable::Of(const std::vector<ScoredRow>& rows, bool is_published) {
  ScoreTable table;
  for (const ScoredRow& row : rows) {
    table.num_refused += row.state == RowState::kRefused;
    table.num_failed += row.state == RowState::kFailed;
    const bool counts =
        row.state == RowState::kScored || (row.state == RowState::kFailed && is_published);
    if (!counts) continue;
    Add(row, &table.all);
    Add(row, &table.groups[LengthGroupOf(row.wanted)]);
    for (size_t i = 0; row.judgement && i < kDimensions.size(); ++i)
      table.dimensions[i] += row.judgement->scores[i];
  }
  for (double& sum : table.dimensions)
    if (table.all.count > 0) sum /= static_cast<double>(table.all.count);
  Divide(&table.all);
  for (GroupScores& group : table.groups) Divide(&group);
  return table;
}

std::string ScoreTable::LatexRow(std::string_view model) const {
  std::string row = fmt::format("\\texttt{{{}}} & {:.1f} & {:.1f} & {:.1f}", model, all.Overall(),
                                all.length_code, all.quality);
  for (const GroupScores& group : groups)
    row += fmt::format(" & {:.1f} & {:.1f}", group.length_code, group.quality);
  return row + " \\\\";
}

}  // namespace longhand::client
