#include "client/eval/judge.h"

#include "client/dataset/row_key.h"
#include "common/agent_write/template_text.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

// The next row whose text waits for a verdict.
Result<std::optional<KeyedRow>> NextUnjudged(const NextRow& next,
                                             const ResultLog& predictions,
                                             const ResultLog& verdicts) {
  while (true) {
    Result<std::optional<KeyedRow>> row = next();
    if (!row.ok() || !row->has_value()) return row;
    const json::object* result = predictions.Find((*row)->key);
    if (result == nullptr) continue;
    const Prediction prediction = PredictionOf(*result);
    if (!prediction.refusal.empty()) continue;
    if (verdicts.Find(VerdictKey((*row)->key, prediction.text)) == nullptr) return row;
  }
}

Result<json::object> Judge(ChatModel& judge, const JudgeOptions& options, const ChatQuestion& q) {
  Status why;
  for (int i = 0; i < options.max_questions; ++i) {
    LONGHAND_ASSIGN_OR_RETURN(const ChatReply reply, AskPatiently(judge, q, options.tries));
    if (!reply.refusal.empty()) return json::object{{"refusal", reply.refusal}};
    const Result<Judgement> judgement = ParseJudgement(reply.text);
    if (judgement.ok()) return json::object{{"scores", ToJson(*judgement)}, {"reply", reply.text}};
    why = judgement.status();
  }
  return why.WithContext("no reply of " + std::to_string(options.max_questions) +
                         " can be read; the last");
}

}  // namespace

Verdict VerdictOf(const json::object& result) {
  Verdict verdict{.is_refused = result.contains("refusal")};
  const json::value* scores = result.if_contains("scores");
  if (scores == nullptr) return verdict;
  const Result<Judgement> judgement = ParseJudgement(json::serialize(*scores));
  if (judgement.ok()) verdict.judgement = *judgement;
  return verdict;
}

json::object ToJson(const Judgement& judgement) {
  json::object out{{"Analysis", judgement.analysis}};
  for (size_t i = 0; i < kDimensions.size(); ++i) out[kDimensions[i]] = judgement.scores[i];
  return out;
}

std::string VerdictKey(const std::string& row_key, const std::string& text) {
  return row_key + ":" + ShortHash(text);
}

Result<int64_t> JudgeAll(const JudgeOptions& options,
                         const NextRow& next,
                         const ResultLog& predictions,
                         ResultLog& verdicts) {
  RowProgress progress("judging", options.is_quiet);
  RowWork work;
  work.next = [&] { return NextUnjudged(next, predictions, verdicts); };
  work.work = [&](ChatModel& judge, const KeyedRow& row) -> Status {
    LONGHAND_ASSIGN_OR_RETURN(const std::string question, QuestionOf(row.row));
    const Prediction prediction = PredictionOf(*predictions.Find(row.key));
    const std::string prompt = FillTemplate(
        options.prompt_template, {{"$INST$", question}, {"$RESPONSE$", prediction.text}});
    LONGHAND_ASSIGN_OR_RETURN(json::object verdict,
                              Judge(judge, options, {prompt, &row.row.pictures, options.sampling}));
    return verdicts.Add(VerdictKey(row.key, prediction.text), std::move(verdict));
  };
  const ChatFactory make_judge = [&] { return MakeOpenAiChat(options.address, false); };
  LONGHAND_RETURN_IF_ERROR(ForEachRow(options.concurrency, make_judge, work, progress));
  return progress.num_failed();
}

}  // namespace longhand::client
