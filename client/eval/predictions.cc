#include "client/eval/predictions.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

Result<RowFacts> FactsOf(const KeyedRow& row) {
  RowFacts facts{.key = row.key};
  if (const json::value* id = row.row.fields.if_contains("id")) facts.id = *id;
  LONGHAND_ASSIGN_OR_RETURN(facts.question, QuestionOf(row.row));
  Result<double> wanted = WantedWords(row.row);
  if (!wanted.ok()) return wanted.status().WithContext("row " + row.key);
  facts.wanted = *wanted;
  return facts;
}

std::string StringOf(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

int64_t IntOf(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

}  // namespace

Prediction PredictionOf(const json::object& result) {
  return {.text = StringOf(result, "prediction"),
          .refusal = StringOf(result, "refusal"),
          .finish_reason = StringOf(result, "finish_reason"),
          .completion_tokens = IntOf(result, "completion_tokens"),
          .num_words = IntOf(result, "length")};
}

Result<int64_t> Predict(const EvalOptions& options,
                        const ChatFactory& make_model,
                        const NextRow& next,
                        const ChooseWay& way_of,
                        const WordCounter& counter,
                        ResultLog& log,
                        std::vector<RowFacts>* facts) {
  RowProgress progress("writing", options.json);
  RowWork work;
  work.next = [&]() -> Result<std::optional<KeyedRow>> {
    while (true) {
      Result<std::optional<KeyedRow>> row = next();
      if (!row.ok() || !row->has_value()) return row;
      LONGHAND_ASSIGN_OR_RETURN(RowFacts of_row, FactsOf(**row));
      facts->push_back(std::move(of_row));
      if (log.Find((*row)->key) == nullptr) return row;
    }
  };
  work.work = [&](ChatModel& model, const KeyedRow& row) -> Status {
    LONGHAND_ASSIGN_OR_RETURN(const std::string question, QuestionOf(row.row));
    LONGHAND_ASSIGN_OR_RETURN(WrittenText written, way_of(row)(model, row.row, question));
    json::object result{{"prediction", written.text},
                        {"length", counter.Count(written.text)},
                        {"finish_reason", written.finish_reason},
                        {"completion_tokens", written.completion_tokens}};
    if (!written.refusal.empty()) result["refusal"] = written.refusal;
    if (!written.captions.empty()) result["captions"] = std::move(written.captions);
    return log.Add(row.key, std::move(result));
  };
  LONGHAND_RETURN_IF_ERROR(ForEachRow(options.concurrency, make_model, work, progress));
  return progress.num_failed();
}

}  // namespace longhand::client
