// RulerRows: LongWrite-V-Ruler's rows, and the same items at lengths that it does not have.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/eval/eval_rows.h"

namespace longhand::client {

// `question` with another number in place of `from`, which may be written with a comma (1,000).
// Nothing where it does not name `from`.
std::optional<std::string> WithLength(std::string_view question, int64_t from, int64_t to);

// Every row, and after each of the shortest length the same item at the lengths of `more`, under
// the key "KEY@LENGTH". One thread at a time.
class RulerRows {
 public:
  static Result<RulerRows> Open(const std::string& data,
                                const std::string& revision,
                                int64_t limit,
                                std::vector<int64_t> more);

  // kInvalidArgument where a question does not name its length, and `more` is not empty.
  Result<std::optional<KeyedRow>> Next();
  // Of a key. Those of the data end in no '@' and a number: their own texts are in quotes.
  static bool IsExtension(std::string_view key);

 private:
  RulerRows(EvalRows rows, double shortest, std::vector<int64_t> more)
      : rows_(std::move(rows)), shortest_(shortest), more_(std::move(more)) {}

  Status Extend(const KeyedRow& row);

  EvalRows rows_;
  double shortest_;
  std::vector<int64_t> more_;
  std::deque<KeyedRow> waiting_;
};

}  // namespace longhand::client
