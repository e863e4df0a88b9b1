#include "client/eval/eval_report.h"

#include <fmt/format.h>

#include <cmath>

#include "client/eval/csv.h"
#include "client/eval/published_results.h"
#include "common/length_score.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr const char* kRefused = "GPT_REFUSED";

EvalRow JoinRow(const RowFacts& facts, const ResultLog& predictions, const ResultLog* verdicts) {
  EvalRow row{.facts = facts};
  row.scored.wanted = facts.wanted;
  const json::object* prediction = predictions.Find(facts.key);
  if (prediction == nullptr) {
    row.scored.state = RowState::kFailed;
    return row;
  }
  row.prediction = PredictionOf(*prediction);
  row.scored.written = row.prediction.num_words;
  if (!row.prediction.refusal.empty()) row.scored.state = RowState::kRefused;
  if (verdicts == nullptr || row.scored.state == RowState::kRefused) return row;
  const json::object* result = verdicts->Find(VerdictKey(facts.key, row.prediction.text));
  const Verdict verdict = result == nullptr ? Verdict() : VerdictOf(*result);
  row.scored.judgement = verdict.judgement;
  if (verdict.is_refused) row.scored.state = RowState::kRefused;
  if (!verdict.is_refused && !verdict.judgement) row.scored.state = RowState::kFailed;
  return row;
}

std::string QualityScores(const EvalRow& row) {
  if (row.scored.state == RowState::kRefused) return kRefused;
  return row.scored.judgement ? json::serialize(ToJson(*row.scored.judgement)) : "";
}

std::string IdOf(const RowFacts& facts) {
  return facts.id.is_null() ? facts.key : json::serialize(facts.id);
}

std::string Number(double value) {
  return std::isnan(value) ? "nan" : fmt::format("{:.1f}", value);
}

// JSON has no NaN.
json::value NumberOrNull(double value) {
  return std::isnan(value) ? json::value(nullptr) : json::value(value);
}

json::object GroupJson(const GroupScores& group, bool is_judged) {
  json::object out{{"count", group.count},
                   {"S_l", NumberOrNull(group.length_code)},
                   {"S_l_paper", NumberOrNull(group.length_paper)}};
  if (!is_judged) return out;
  out["S_q"] = NumberOrNull(group.quality);
  out["S"] = NumberOrNull(group.Overall());
  return out;
}

std::string ScoreLines(const ScoreTable& table) {
  std::string out =
      "| L | rows | S | S_l (code) | S_l (paper) | S_q |\n|---|---:|---:|---:|---:|---:|\n";
  const auto add = [&](std::string_view name, const GroupScores& group) {
    out +=
        fmt::format("| {} | {} | {} | {} | {} | {} |\n", name, group.count, Number(group.Overall()),
                    Number(group.length_code), Number(group.length_paper), Number(group.quality));
  };
  add("all", table.all);
  for (size_t i = 0; i < kLengthGroups.size(); ++i) add(kLengthGroups[i], table.groups[i]);
  return out;
}

std::string LengthLines(const ScoreTable& table) {
  std::string out = "| L | rows | S_l (code) | S_l (paper) |\n|---|---:|---:|---:|\n";
  const auto add = [&](std::string_view name, const GroupScores& group) {
    out += fmt::format("| {} | {} | {} | {} |\n", name, group.count, Number(group.length_code),
                       Number(group.length_paper));
  };
  add("all", table.all);
  for (size_t i = 0; i < kLengthGroups.size(); ++i) add(kLengthGroups[i], table.groups[i]);
  return out;
}

std::string PublishedLines() {
  std::string out =
      "\n## Published figures\n\nFrom table 1 of the LongWriter-V paper (arXiv 2502.14834): not "
      "measured here, and by that paper's judge and prompts. Which of the two S_l it shows is not "
      "known.\n\n| model | S | S_l | S_q | S_l [0,1500) | [1500,2000) | [2000,3000) | [3000,4000) "
      "|\n|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const PublishedResult& result : kPublishedResults) {
    out += fmt::format("| {} | {:.1f} | {:.1f} | {:.1f} |", result.model, result.overall,
                       result.length, result.quality);
    for (size_t i = 0; i < kLengthGroups.size(); ++i)
      out += result.length_of_group ? fmt::format(" {:.1f} |", (*result.length_of_group)[i]) : " |";
    out += "\n";
  }
  return out;
}

}  // namespace

std::vector<EvalRow> JoinRows(const std::vector<RowFacts>& facts,
                              const ResultLog& predictions,
                              const ResultLog* verdicts) {
  std::vector<EvalRow> rows;
  for (const RowFacts& row : facts) rows.push_back(JoinRow(row, predictions, verdicts));
  return rows;
}

std::vector<ScoredRow> ScoredOf(const std::vector<EvalRow>& rows) {
  std::vector<ScoredRow> scored;
  for (const EvalRow& row : rows) scored.push_back(row.scored);
  return scored;
}

std::string CsvOf(const std::vector<EvalRow>& rows) {
  std::string out = CsvLine({"id", "question", "prediction", "length", "length_score", "relevance",
                             "accuracy", "coherence", "clarity", "breadth_depth",
                             "reading_experience", "overall_quality_score", "quality_scores"});
  for (const EvalRow& row : rows) {
    std::vector<std::string> cells = {IdOf(row.facts), row.facts.question, row.prediction.text};
    const ScoredRow& scored = row.scored;
    const bool has_text = row.prediction.refusal.empty() && !row.prediction.text.empty();
    cells.push_back(has_text ? std::to_string(scored.written) : "");
    cells.push_back(has_text ? fmt::format("{}", LengthScore(scored.written, scored.wanted)) : "");
    for (size_t i = 0; i < kDimensions.size(); ++i)
      cells.push_back(scored.judgement ? std::to_string(scored.judgement->scores[i]) : "");
    cells.push_back(scored.judgement ? fmt::format("{}", scored.judgement->Quality()) : "");
    cells.push_back(QualityScores(row));
    out += CsvLine(cells);
  }
  return out;
}

std::string JsonLinesOf(const std::vector<EvalRow>& rows) {
  std::string out;
  for (const EvalRow& row : rows) {
    const ScoredRow& scored = row.scored;
    json::object line{{"id", row.facts.id.is_null() ? json::value(row.facts.key) : row.facts.id},
                      {"question", row.facts.question},
                      {"L", row.facts.wanted},
                      {"prediction", row.prediction.text},
                      {"finish_reason", row.prediction.finish_reason},
                      {"length", scored.written},
                      {"length_score", LengthScore(scored.written, scored.wanted)},
                      {"length_score_paper", PaperLengthScore(scored.written, scored.wanted)},
                      {"state", scored.state == RowState::kScored    ? "scored"
                                : scored.state == RowState::kRefused ? "refused"
                                                                     : "failed"}};
    if (scored.judgement) {
      line["overall_quality_score"] = scored.judgement->Quality();
      line["quality_scores"] = ToJson(*scored.judgement);
    } else if (scored.state == RowState::kRefused) {
      line["quality_scores"] = kRefused;
    }
    out += json::serialize(line) + "\n";
  }
  return out;
}

std::string ReportOf(const ReportFacts& facts, const ScoreTable& table) {
  const bool is_judged = !facts.judge.empty();
  std::string out = fmt::format(
      "# MMLongBench-Write: {}\n\nMethod: {}. Judge: {}. Settings: {}.\n\nS_l (code) is the "
      "published code's length score, S_l (paper) the paper's formula 6; S is the mean of S_l "
      "(code) and S_q. All are means over rows. {} rows were refused and count nowhere; {} failed "
      "and {}.\n\n",
      facts.model, facts.method, is_judged ? facts.judge : "none, lengths only", facts.settings,
      table.num_refused, table.num_failed,
      facts.is_published ? "make the means that they are in no numbers, as in the published code"
                         : "count nowhere");
  out += is_judged ? ScoreLines(table) : LengthLines(table);
  if (is_judged) {
    out += "\n| dimension | mean, 1 to 5 |\n|---|---:|\n";
    for (size_t i = 0; i < kDimensions.size(); ++i)
      out += fmt::format("| {} | {:.2f} |\n", kDimensions[i], table.dimensions[i]);
    out += fmt::format(
        "\nLaTeX (model, S, S_l, S_q, then S_l and S_q of each group):\n\n```latex\n{}\n```\n",
        table.LatexRow(facts.model));
  }
  return out + PublishedLines();
}

json::object ToJson(const ScoreTable& table) {
  const bool is_judged = table.dimensions[0] > 0;
  json::object out = GroupJson(table.all, is_judged);
  json::object groups;
  for (size_t i = 0; i < kLengthGroups.size(); ++i)
    groups[kLengthGroups[i]] = GroupJson(table.groups[i], is_judged);
  out["groups"] = std::move(groups);
  out["refused"] = table.num_refused;
  out["failed"] = table.num_failed;
  return out;
}

}  // namespace longhand::client
