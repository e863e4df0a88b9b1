#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "client/dataset/row_key.h"
#include "client/eval/eval_command.h"
#include "client/eval/eval_report.h"
#include "client/eval/judge.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr const char* kVerb = "mmlongbench-write";

struct MmLongBenchOptions {
  EvalOptions eval;
  std::string method = "vlm";
  std::string caption_base_url, caption_model;
  std::string judge_base_url, judge_model = "gpt-4o-2024-08-06";
  int judge_concurrency = 8;
  std::string templates;
  bool is_published = false;
};

void AddMmLongBenchOptions(CLI::App& app, MmLongBenchOptions& o) {
  o.eval.data = "THU-KEG/MMLongBench-Write";
  o.eval.sampling.temperature = 0.6;
  o.eval.sampling.top_p = 0.95;
  o.eval.sampling.top_k = 0;
  o.eval.sampling.repetition_penalty = 1.0;
  o.eval.sampling.max_tokens = 8192;
  app.add_option("--method", o.method,
                 "vlm: the model sees the pictures; caption_llm: it reads captions of them")
      ->check(CLI::IsMember({"vlm", "caption_llm"}))
      ->capture_default_str()
      ->take_last();
  app.add_option("--caption-base-url", o.caption_base_url,
                 "Who writes captions, with OpenAI's endpoints; the same server by default. "
                 "CAPTION_API_KEY, else OPENAI_API_KEY, is its key")
      ->take_last();
  app.add_option("--caption-model", o.caption_model, "The captions' model")->take_last();
  app.add_option("--judge-base-url", o.judge_base_url,
                 "Who judges, with OpenAI's endpoints, as https://api.openai.com; without it only "
                 "lengths are measured. JUDGE_API_KEY, else OPENAI_API_KEY, is its key")
      ->take_last();
  app.add_option("--judge-model", o.judge_model, "The judge's model")
      ->capture_default_str()
      ->take_last();
  app.add_option("--judge-concurrency", o.judge_concurrency, "Texts that are judged at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->take_last();
  app.add_option("--templates", o.templates,
                 "Folder with other prompts than ours: judge.txt, caption.txt, caption_write.txt, "
                 "or eval_quality.txt, caption.txt, llm_generate.txt as published")
      ->take_last();
  app.add_flag("--published", o.is_published,
               "A row that failed makes the means that it is in no numbers, as in the published "
               "code; otherwise it counts nowhere");
  for (CLI::Option* option : app.get_options()) option->configurable(false);
  AddEvalOptions(app, o.eval);
}

std::string KeyFor(const char* name) {
  const std::string key = FromEnvironment(name);
  return key.empty() ? FromEnvironment("OPENAI_API_KEY") : key;
}

Result<ChatFactory> Captioner(const MmLongBenchOptions& o, const ChatFactory& make_model) {
  if (o.caption_base_url.empty()) return make_model;
  OpenAiAddress address{o.caption_base_url, o.caption_model, KeyFor("CAPTION_API_KEY"),
                        o.eval.chat.endpoint.tls_ca, o.eval.chat.timeout};
  if (address.model.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(address.model, FirstModel(address));
  }
  return ChatFactory([address] { return MakeOpenAiChat(address, false); });
}

JudgeOptions JudgeOf(const MmLongBenchOptions& o, const EvalTemplates& templates) {
  JudgeOptions judge{.address = {o.judge_base_url, o.judge_model, KeyFor("JUDGE_API_KEY"),
                                 o.eval.chat.endpoint.tls_ca, o.eval.chat.timeout},
                     .prompt_template = templates.judge,
                     .tries = o.eval.chat.tries,
                     .concurrency = o.judge_concurrency,
                     .is_quiet = o.eval.json};
  judge.sampling.temperature = 0.5;
  judge.sampling.max_tokens = 1024;
  return judge;
}

json::object PredictionSettings(const MmLongBenchOptions& o, const EvalTemplates& templates) {
  json::object settings = SettingsOf(o.eval);
  settings["method"] = o.method;
  if (o.method == "vlm") return settings;
  settings["caption_model"] = o.caption_model;
  settings["caption_template"] = ShortHash(templates.caption);
  settings["caption_write_template"] = ShortHash(templates.caption_write);
  return settings;
}

// Opens the data anew.
Result<NextRow> RowsOf(const EvalOptions& o) {
  LONGHAND_ASSIGN_OR_RETURN(EvalRows rows, EvalRows::Open(o.data, o.revision, o.limit));
  const auto shared = std::make_shared<EvalRows>(std::move(rows));  // NextRow must be copyable
  return NextRow([shared] { return shared->Next(); });
}

WayToWrite WayOf(const MmLongBenchOptions& o,
                 const ChatFactory& captioner,
                 const EvalTemplates& templates) {
  const EvalOptions& e = o.eval;
  if (o.method == "caption_llm")
    return FromCaptions(e.sampling, e.chat.tries, e.holds_length, captioner, templates);
  return e.documents ? AsDocument(e.sampling, e.chat.tries, e.holds_length)
                     : FromPictures(e.sampling, e.chat.tries, e.holds_length);
}

Result<std::vector<RowFacts>> WriteTexts(MmLongBenchOptions& o,
                                         const ChatFactory& make_model,
                                         const EvalTemplates& templates,
                                         ResultLog& log) {
  LONGHAND_ASSIGN_OR_RETURN(const ChatFactory captioner, Captioner(o, make_model));
  const WayToWrite way = WayOf(o, captioner, templates);
  LONGHAND_ASSIGN_OR_RETURN(const NextRow next, RowsOf(o.eval));
  const WordCounter counter;
  std::vector<RowFacts> facts;
  const ChooseWay way_of = [&](const KeyedRow&) -> const WayToWrite& { return way; };
  LONGHAND_RETURN_IF_ERROR(
      Predict(o.eval, make_model, next, way_of, counter, log, &facts).status());
  return facts;
}

Status JudgeTexts(const MmLongBenchOptions& o,
                  const EvalTemplates& templates,
                  const ResultLog& predictions,
                  ResultLog& verdicts) {
  LONGHAND_ASSIGN_OR_RETURN(const NextRow next, RowsOf(o.eval));
  return JudgeAll(JudgeOf(o, templates), next, predictions, verdicts).status();
}

Status Show(const MmLongBenchOptions& o,
            const fs::path& base,
            const std::vector<EvalRow>& rows,
            const ScoreTable& table,
            const std::string& report) {
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".jsonl", JsonLinesOf(rows)));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".csv", CsvOf(rows)));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(base.string() + ".report.md", report));
  if (!o.eval.json) {
    std::printf("%s", report.c_str());
    std::fprintf(stderr, "%s.report.md, .jsonl and .csv\n", base.c_str());
    return OkStatus();
  }
  json::object out = ToJson(table);
  out["model"] = NameOf(o.eval);
  if (!o.judge_base_url.empty()) out["latex"] = table.LatexRow(NameOf(o.eval));
  out["report"] = base.string() + ".report.md";
  std::printf("%s\n", json::serialize(out).c_str());
  return OkStatus();
}

// The number of rows that failed.
Result<int64_t> Run(MmLongBenchOptions& o) {
  LONGHAND_RETURN_IF_ERROR(CheckEvalOptions(o.eval));
  if (o.eval.documents && o.method != "vlm")
    return InvalidArgument("--documents goes with --method vlm");
  LONGHAND_ASSIGN_OR_RETURN(const EvalTemplates templates, EvalTemplates::Load(o.templates));
  LONGHAND_ASSIGN_OR_RETURN(const ChatFactory make_model, MakeChatFactory(o.eval.chat));
  const std::string name = NameOf(o.eval);
  const fs::path base = o.eval.out / "MMLongBench_Write" / o.method / name;
  const json::object settings = PredictionSettings(o, templates);
  LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<ResultLog> predictions,
                            ResultLog::Open(base.string() + ".predictions.jsonl", settings));
  LONGHAND_ASSIGN_OR_RETURN(const std::vector<RowFacts> facts,
                            WriteTexts(o, make_model, templates, *predictions));
  std::unique_ptr<ResultLog> verdicts;
  if (!o.judge_base_url.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(verdicts,
                              ResultLog::Open(base.string() + ".judgements.jsonl",
                                              {{"judge_model", o.judge_model},
                                               {"judge_template", ShortHash(templates.judge)}}));
    LONGHAND_RETURN_IF_ERROR(JudgeTexts(o, templates, *predictions, *verdicts));
  }
  const std::vector<EvalRow> rows = JoinRows(facts, *predictions, verdicts.get());
  const ScoreTable table = ScoreTable::Of(ScoredOf(rows), o.is_published);
  const std::string judge =
      verdicts == nullptr
          ? ""
          : o.judge_model + (o.templates.empty() ? ", our prompt (the published one "
                                                   "with --templates)"
                                                 : ", prompt of " + o.templates);
  LONGHAND_RETURN_IF_ERROR(
      Show(o, base, rows, table,
           ReportOf({name, o.method, judge, ReadableSettings(settings), o.is_published}, table)));
  return table.num_failed;
}

}  // namespace

int MmLongBenchCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "MMLongBench-Write: has long texts about pictures written, measures their lengths (S_l) and "
      "has a strong\nmodel judge their quality (S_q). What is written and judged stays in --out, "
      "and a second run goes on\nwith what is missing. Exit code 1 when a row failed.",
      "longhand eval mmlongbench-write"};
  app.footer(
      "As published, unless said otherwise: temperature 0.6, top-p 0.95, no top-k, max-tokens "
      "8192, repetition penalty 1; the judge has temperature 0.5 and 1024 tokens.");
  MmLongBenchOptions options;
  AddMmLongBenchOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  return ExitOf(kVerb, Run(options));
}

}  // namespace longhand::client
