#include "client/eval/eval_rows.h"

namespace longhand::client {
namespace {

constexpr int64_t kMaxWords = 1000000;

}  // namespace

Result<std::string> QuestionOf(const DatasetRow& row) {
  const boost::json::value* question = row.fields.if_contains("question");
  if (question == nullptr || !question->is_string())
    return InvalidArgument("a row has no text `question`");
  return std::string(question->get_string());
}

Result<double> WantedWords(const DatasetRow& row) {
  const boost::json::value* wanted = row.fields.if_contains("L");
  const double words = wanted != nullptr && wanted->is_number() ? wanted->to_number<double>() : -1;
  if (words >= 0 && words <= kMaxWords) return words;
  return InvalidArgument("a row's `L`, the words that its text is to have, is ",
                         wanted == nullptr ? "missing" : boost::json::serialize(*wanted),
                         "; it must be a number from 0 to ", kMaxWords);
}

Result<EvalRows> EvalRows::Open(const std::string& data,
                                const std::string& revision,
                                int64_t limit) {
  LONGHAND_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(data, revision));
  return EvalRows(std::move(dataset), limit);
}

Result<std::optional<KeyedRow>> EvalRows::Next() {
  if (limit_ > 0 && num_read_ == limit_) return std::optional<KeyedRow>();
  LONGHAND_ASSIGN_OR_RETURN(std::optional<DatasetRow> row, dataset_.Next());
  if (!row) return std::optional<KeyedRow>();
  ++num_read_;
  LONGHAND_ASSIGN_OR_RETURN(const std::string question, QuestionOf(*row));
  std::string key = keys_.KeyOf(*row, question);
  return std::optional(KeyedRow{std::move(key), std::move(*row)});
}

}  // namespace longhand::client
