#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "client/eval/csv.h"
#include "client/eval/eval_command.h"
#include "client/eval/predictions.h"
#include "client/eval/ruler_report.h"
#include "client/eval/ruler_rows.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr const char* kVerb = "longwrite-v-ruler";
constexpr double kTokensPerWord = 2.5;  // that an answer may have, beyond the published limit

struct RulerOptions {
  EvalOptions eval;
  std::vector<int64_t> more;
  std::vector<std::string> compared;
};

void AddRulerOptions(CLI::App& app, RulerOptions& o) {
  o.eval.data = "THU-KEG/LongWrite-V-Ruler";
  o.eval.sampling.temperature = 0.9;
  o.eval.sampling.top_p = 0.95;
  o.eval.sampling.top_k = 0;
  o.eval.sampling.repetition_penalty = 1.0;
  o.eval.sampling.max_tokens = 8192;
  app.add_option("--extend", o.more,
                 "Lengths in words that the benchmark does not have, at which its items are asked "
                 "as well, as 8000 16000 32000; reported apart. An answer may have 2.5 tokens for "
                 "each of these words, if that is more than --max-tokens")
      ->check(CLI::Range(1, 100000))
      ->configurable(false);
  app.add_option("--with", o.compared,
                 "Results of another model (NAME.jsonl), to be drawn in the same plot; may be "
                 "given several times")
      ->configurable(false);
  AddEvalOptions(app, o.eval);
}

struct RulerResults {
  std::vector<RulerText> published, extension;
  json::array rows;
  std::string csv;
  int64_t num_refused = 0;
};

RulerResults Gather(const std::vector<RowFacts>& facts, const ResultLog& log) {
  RulerResults results;
  results.csv = CsvLine({"id", "question", "L", "prediction", "length"});
  for (const RowFacts& row : facts) {
    const json::object* result = log.Find(row.key);
    if (result == nullptr) continue;
    const Prediction prediction = PredictionOf(*result);
    const bool is_refused = !prediction.refusal.empty();
    results.num_refused += is_refused;
    json::object out{{"id", row.id}, {"question", row.question}, {"L", row.wanted}};
    for (const auto& [name, value] : *result) out[name] = value;
    out["extension"] = RulerRows::IsExtension(row.key);
    results.csv += CsvLine({row.id.is_null() ? row.key : json::serialize(row.id), row.question,
                            fmt::format("{:g}", row.wanted), prediction.text,
                            std::to_string(prediction.num_words)});
    results.rows.push_back(std::move(out));
    if (is_refused) continue;
    (RulerRows::IsExtension(row.key) ? results.extension : results.published)
        .push_back({row.wanted, prediction.num_words, prediction.finish_reason == "length"});
  }
  return results;
}

// The published lengths of another run, for the plot; with those of an extension in `all`.
Result<RulerSeries> ReadSeries(const fs::path& path, bool has_extension) {
  LONGHAND_ASSIGN_OR_RETURN(JsonLinesReader reader, JsonLinesReader::Open(path));
  std::vector<RulerText> texts;
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const std::optional<json::object> row, reader.Next());
    if (!row) break;
    const json::value* wanted = row->if_contains("L");
    const json::value* written = row->if_contains("length");
    if (wanted == nullptr || !wanted->is_number() || written == nullptr || !written->is_int64())
      return InvalidArgument(path.string(), ":", reader.line(), ": no numbers L and length");
    const json::value* extension = row->if_contains("extension");
    const bool is_extension = extension != nullptr && *extension == true;
    if (!is_extension || has_extension)
      texts.push_back({wanted->to_number<double>(), written->get_int64(), false});
  }
  return SeriesOf(path.stem().string(), LinesOf(texts));
}

Result<std::string> Plot(const RulerOptions& o,
                         const std::string& name,
                         const RulerResults& results,
                         bool has_extension) {
  std::vector<RulerText> texts = results.published;
  if (has_extension) texts.insert(texts.end(), results.extension.begin(), results.extension.end());
  std::vector<RulerSeries> series = {SeriesOf(name, LinesOf(texts))};
  for (const std::string& path : o.compared) {
    LONGHAND_ASSIGN_OR_RETURN(RulerSeries other, ReadSeries(path, has_extension));
    series.push_back(std::move(other));
  }
  return PlotRuler(series);
}

std::string Report(const RulerOptions& o,
                   const std::string& name,
                   const RulerResults& results,
                   int64_t num_failed) {
  std::string out = fmt::format(
      "# LongWrite-V-Ruler: {}\n\nSettings: {}. Words are counted as the benchmark "
      "does: characters U+4E00 to U+9FFF and runs of ASCII letters. No judge; lengths only. S_l "
      "(code) is the published code's score, S_l (paper) the paper's formula 6.\n\n",
      name, ReadableSettings(SettingsOf(o.eval)));
  if (results.num_refused + num_failed > 0)
    out += fmt::format("{} texts were refused and {} failed; they are in no figure.\n\n",
                       results.num_refused, num_failed);
  out += "## The published lengths\n\n" + TableOf(LinesOf(results.published));
  out += fmt::format("\n![published lengths]({}.svg)\n", name);
  if (results.extension.empty()) return out;
  out += fmt::format(
      "\n## Beyond the benchmark\n\nThe same items at lengths that the published ruler does not "
      "have: not comparable with published figures. An answer may have {:g} tokens for each word "
      "asked for (the published limit is 8192 in all).\n\n",
      kTokensPerWord);
  out += TableOf(LinesOf(results.extension));
  out += fmt::format("\n![all lengths]({}.extension.svg)\n", name);
  return out;
}

Status WriteFiles(const RulerOptions& o,
                  const fs::path& base,
                  const std::string& name,
                  const RulerResults& results,
                  const std::string& report) {
  std::string lines;
  for (const json::value& row : results.rows) lines += json::serialize(row) + "\n";
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".jsonl", lines));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".csv", results.csv));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".report.md", report));
  LONGHAND_ASSIGN_OR_RETURN(const std::string plot, Plot(o, name, results, false));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".svg", plot));
  if (results.extension.empty()) return OkStatus();
  LONGHAND_ASSIGN_OR_RETURN(const std::string all, Plot(o, name, results, true));
  return WriteWhole(base.string() + ".extension.svg", all);
}

// Longer texts may have more tokens.
SamplingOptions SamplingFor(double wanted, SamplingOptions sampling) {
  const auto needed = static_cast<int64_t>(kTokensPerWord * wanted);
  sampling.max_tokens = std::max(sampling.max_tokens.value_or(0), needed);
  return sampling;
}

Result<int64_t> Run(RulerOptions& o) {
  LONGHAND_RETURN_IF_ERROR(CheckEvalOptions(o.eval));
  LONGHAND_ASSIGN_OR_RETURN(const ChatFactory make_model, MakeChatFactory(o.eval.chat));
  const std::string name = NameOf(o.eval);
  const fs::path base = o.eval.out / "LongWrite_V_Ruler" / name;
  LONGHAND_ASSIGN_OR_RETURN(RulerRows rows,
                            RulerRows::Open(o.eval.data, o.eval.revision, o.eval.limit, o.more));
  LONGHAND_ASSIGN_OR_RETURN(
      const std::unique_ptr<ResultLog> log,
      ResultLog::Open(base.string() + ".predictions.jsonl", SettingsOf(o.eval)));
  const auto way = [&](const SamplingOptions& sampling) {
    return o.eval.documents ? AsDocument(sampling, o.eval.chat.tries, o.eval.holds_length)
                            : FromPictures(sampling, o.eval.chat.tries, o.eval.holds_length);
  };
  const WayToWrite published = way(o.eval.sampling);
  std::map<int64_t, WayToWrite> longer;
  for (const int64_t length : o.more)
    longer[length] = way(SamplingFor(static_cast<double>(length), o.eval.sampling));
  const ChooseWay way_of = [&](const KeyedRow& row) -> const WayToWrite& {
    if (!RulerRows::IsExtension(row.key)) return published;
    return longer.at(row.row.fields.at("L").get_int64());
  };
  const WordCounter counter;
  std::vector<RowFacts> facts;
  LONGHAND_ASSIGN_OR_RETURN(
      const int64_t num_failed,
      Predict(o.eval, make_model, [&] { return rows.Next(); }, way_of, counter, *log, &facts));
  const RulerResults results = Gather(facts, *log);
  const std::string report = Report(o, name, results, num_failed);
  LONGHAND_RETURN_IF_ERROR(WriteFiles(o, base, name, results, report));
  if (o.eval.json) {
    std::printf("%s\n",
                json::serialize(json::object{{"model", name},
                                             {"published", JsonOf(LinesOf(results.published))},
                                             {"extension", JsonOf(LinesOf(results.extension))},
                                             {"refused", results.num_refused},
                                             {"failed", num_failed},
                                             {"report", base.string() + ".report.md"}})
                    .c_str());
  } else {
    std::printf("%s", report.c_str());
    std::fprintf(stderr, "%s.report.md, .jsonl, .csv and .svg\n", base.c_str());
  }
  return num_failed;
}

}  // namespace

int RulerCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "LongWrite-V-Ruler: has texts written at given lengths, and measures how long they are. No "
      "judge.\nWhat is written stays in --out, and a second run goes on with what is missing. "
      "Exit code 1 when a text could not be had.",
      "longhand eval longwrite-v-ruler"};
  app.footer(
      "As published, unless said otherwise: temperature 0.9, top-p 0.95, no top-k, max-tokens "
      "8192, repetition penalty 1.");
  RulerOptions options;
  AddRulerOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  return ExitOf(kVerb, Run(options));
}

}  // namespace longhand::client
