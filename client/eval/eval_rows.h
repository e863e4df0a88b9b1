// EvalRows: the rows of a benchmark, one after the other, as both phases want them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/dataset/dataset.h"
#include "client/dataset/row_key.h"
#include "client/rows/row_pool.h"

namespace longhand::client {

// question and L. kInvalidArgument where a row has no such text, or no number of words up to a
// million.
Result<std::string> QuestionOf(const DatasetRow& row);
Result<double> WantedWords(const DatasetRow& row);

// One thread at a time.
class EvalRows {
 public:
  // At most `limit` rows; 0: all.
  static Result<EvalRows> Open(const std::string& data, const std::string& revision, int64_t limit);

  Result<std::optional<KeyedRow>> Next();

 private:
  EvalRows(Dataset dataset, int64_t limit) : dataset_(std::move(dataset)), limit_(limit) {}

  Dataset dataset_;
  RowKeys keys_;
  int64_t limit_;
  int64_t num_read_ = 0;
};

}  // namespace longhand::client
