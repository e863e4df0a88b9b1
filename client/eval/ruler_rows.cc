#include "client/eval/ruler_rows.h"

#include <algorithm>
#include <cctype>
#include <limits>

namespace longhand::client {
namespace {

std::string WithComma(int64_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() > 3) digits.insert(digits.size() - 3, ",");
  return digits;
}

bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// Where `number` stands in `text`, and is not a part of a longer one.
size_t FindNumber(std::string_view text, std::string_view number, size_t from) {
  for (size_t at = text.find(number, from); at != std::string_view::npos;
       at = text.find(number, at + 1)) {
    const size_t end = at + number.size();
    const bool goes_on = end < text.size() && IsDigit(text[end]);
    const bool began = at > 0 && (IsDigit(text[at - 1]) ||
                                  (text[at - 1] == ',' && at > 1 && IsDigit(text[at - 2])));
    if (!goes_on && !began) return at;
  }
  return std::string_view::npos;
}

Result<double> ShortestLength(const std::string& data, const std::string& revision, int64_t limit) {
  LONGHAND_ASSIGN_OR_RETURN(EvalRows rows, EvalRows::Open(data, revision, limit));
  double shortest = std::numeric_limits<double>::infinity();
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const std::optional<KeyedRow> row, rows.Next());
    if (!row) return shortest;
    LONGHAND_ASSIGN_OR_RETURN(const double wanted, WantedWords(row->row));
    shortest = std::min(shortest, wanted);
  }
}

}  // namespace

std::optional<std::string> WithLength(std::string_view question, int64_t from, int64_t to) {
  for (const std::string& number : {std::to_string(from), WithComma(from)}) {
    std::string out(question);
    bool has_one = false;
    const std::string value = std::to_string(to);
    for (size_t at = 0; (at = FindNumber(out, number, at)) != std::string::npos;
         at += value.size()) {
      out.replace(at, number.size(), value);
      has_one = true;
    }
    if (has_one) return out;
  }
  return std::nullopt;
}

Result<RulerRows> RulerRows::Open(const std::string& data,
                                  const std::string& revision,
                                  int64_t limit,
                                  std::vector<int64_t> more) {
  double shortest = 0;
  if (!more.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(shortest, ShortestLength(data, revision, limit));
  }
  LONGHAND_ASSIGN_OR_RETURN(EvalRows rows, EvalRows::Open(data, revision, limit));
  return RulerRows(std::move(rows), shortest, std::move(more));
}

Result<std::optional<KeyedRow>> RulerRows::Next() {
  if (!waiting_.empty()) {
    KeyedRow row = std::move(waiting_.front());
    waiting_.pop_front();
    return std::optional(std::move(row));
  }
  LONGHAND_ASSIGN_OR_RETURN(std::optional<KeyedRow> row, rows_.Next());
  if (row && !more_.empty()) LONGHAND_RETURN_IF_ERROR(Extend(*row));
  return row;
}

bool RulerRows::IsExtension(std::string_view key) {
  const size_t at = key.rfind('@');
  return at != std::string_view::npos && std::all_of(key.begin() + at + 1, key.end(), IsDigit);
}

Status RulerRows::Extend(const KeyedRow& row) {
  LONGHAND_ASSIGN_OR_RETURN(const double wanted, WantedWords(row.row));
  if (wanted != shortest_) return OkStatus();
  LONGHAND_ASSIGN_OR_RETURN(const std::string question, QuestionOf(row.row));
  for (const int64_t length : more_) {
    const std::optional<std::string> longer =
        WithLength(question, static_cast<int64_t>(wanted), length);
    if (!longer)
      return InvalidArgument("row ", row.key, " cannot be asked at ", length,
                             " words: its question does not name its own ", wanted);
    KeyedRow copy{row.key + "@" + std::to_string(length), row.row};
    copy.row.fields["question"] = *longer;
    copy.row.fields["L"] = length;
    waiting_.push_back(std::move(copy));
  }
  return OkStatus();
}

}  // namespace longhand::client
