// ScoreTable: MMLongBench-Write's scores, overall and by the length asked for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/eval/judgement.h"

namespace longhand::client {

enum class RowState {
  kScored,   // or only measured, where nobody judges
  kRefused,  // by the judge or the model: counts nowhere
  kFailed,   // was asked for in vain
};

struct ScoredRow {
  RowState state = RowState::kScored;
  double wanted = 0;  // words
  int64_t written = 0;
  std::optional<Judgement> judgement;
};

struct GroupScores {
  int64_t count = 0;
  double length_code = 0, length_paper = 0, quality = 0;  // means; 0 of nothing

  // S, the mean of S_l (as the code has it) and S_q.
  double Overall() const { return (length_code + quality) / 2; }
};

inline constexpr std::array<std::string_view, 4> kLengthGroups = {"[0,1500)", "[1500,2000)",
                                                                  "[2000,3000)", "[3000,4000)"};
// An index of kLengthGroups; what is no whole number below 3000 is in the last, as in the published
// code.
size_t LengthGroupOf(double wanted);

struct ScoreTable {
  GroupScores all;  // means over rows, not over groups
  std::array<GroupScores, kLengthGroups.size()> groups;
  std::array<double, kDimensions.size()> dimensions{};  // means over rows
  int64_t num_refused = 0, num_failed = 0;

  // `is_published`: a failed row is no number, and so are the means that it is in. Otherwise it
  // counts nowhere.
  static ScoreTable Of(const std::vector<ScoredRow>& rows, bool is_published);

  // \texttt{model} & S & S_l & S_q & then both of each group, ending with two backslashes.
  std::string LatexRow(std::string_view model) const;
};

}  // namespace longhand::client
