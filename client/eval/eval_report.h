// What MMLongBench-Write's run shows at its end: rows as the published code keeps them, and a
// report.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "client/eval/judge.h"
#include "client/eval/predictions.h"
#include "client/eval/score_table.h"

namespace longhand::client {

struct EvalRow {
  RowFacts facts;
  Prediction prediction;
  ScoredRow scored;
};

// `verdicts` may be null: then nobody judges.
std::vector<EvalRow> JoinRows(const std::vector<RowFacts>& facts,
                              const ResultLog& predictions,
                              const ResultLog* verdicts);
std::vector<ScoredRow> ScoredOf(const std::vector<EvalRow>& rows);

// The published columns; JSON lines have length_score_paper and more beside them.
std::string CsvOf(const std::vector<EvalRow>& rows);
std::string JsonLinesOf(const std::vector<EvalRow>& rows);

struct ReportFacts {
  std::string model, method, judge;  // judge: empty where nobody judges
  std::string settings;
  bool is_published = false;
};
std::string ReportOf(const ReportFacts& facts, const ScoreTable& table);
boost::json::object ToJson(const ScoreTable& table);

}  // namespace longhand::client
