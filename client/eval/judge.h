// The second phase of MMLongBench-Write: a strong model judges every text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/eval/eval_options.h"
#include "client/eval/judgement.h"
#include "client/eval/predictions.h"

namespace longhand::client {

struct Verdict {
  bool is_refused = false;             // the judge would not
  std::optional<Judgement> judgement;  // otherwise
};

// Of a log's result.
Verdict VerdictOf(const boost::json::object& result);
boost::json::object ToJson(const Judgement& judgement);

// What a text's verdict is found by: another text of the same row is judged anew.
std::string VerdictKey(const std::string& row_key, const std::string& text);

struct JudgeOptions {
  OpenAiAddress address;
  std::string prompt_template;
  SamplingOptions sampling;
  TryPolicy tries;        // of one question
  int max_questions = 5;  // until the reply can be read
  int concurrency = 8;
  bool is_quiet = false;
};

// Judges each text of `predictions` that `verdicts` has no word of. The number of rows that failed:
// no reply, or none that could be read.
Result<int64_t> JudgeAll(const JudgeOptions& options,
                         const NextRow& next,
                         const ResultLog& predictions,
                         ResultLog& verdicts);

}  // namespace longhand::client
