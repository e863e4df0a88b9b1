// The first phase of both benchmarks: every row's text, written once and kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/eval/eval_options.h"
#include "client/eval/eval_rows.h"
#include "client/eval/writer.h"
#include "client/rows/result_log.h"
#include "common/text/word_counter.h"

namespace longhand::client {

struct Prediction {
  std::string text;
  std::string refusal;
  std::string finish_reason;
  int64_t completion_tokens = 0;
  int64_t num_words = 0;
};

// What a benchmark's row is, without its pictures.
struct RowFacts {
  std::string key;
  boost::json::value id;
  std::string question;
  double wanted = 0;
};

// Of a log's result.
Prediction PredictionOf(const boost::json::object& result);

using NextRow = std::function<Result<std::optional<KeyedRow>>()>;
using ChooseWay = std::function<const WayToWrite&(const KeyedRow& row)>;

// Writes what the log has not; `facts` gets every row of `next`, in order. What fails stays open.
// The number of rows that failed.
Result<int64_t> Predict(const EvalOptions& options,
                        const ChatFactory& make_model,
                        const NextRow& next,
                        const ChooseWay& way_of,
                        const WordCounter& counter,
                        ResultLog& log,
                        std::vector<RowFacts>* facts);

}  // namespace longhand::client
