// BenchReport: what requests to a server have shown. JSON's names are those of vLLM's `bench
// serve`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::client {

// One request. Times in seconds.
struct BenchSample {
  Status status;
  double start_delay = 0;    // behind its time of arrival: all connections were busy
  double time_to_first = 0;  // piece
  double end_to_end = 0;
  std::vector<double> intervals;  // between pieces
  int64_t prompt_tokens = 0;      // 0: the server does not say
  int64_t completion_tokens = 0;  // of usage; where the server has none, pieces
  int64_t num_words = 0;
};

struct Distribution {
  double mean = 0;
  double p50 = 0, p90 = 0, p95 = 0, p99 = 0;
};

// Percentiles by linear interpolation, as numpy's. All zeros of nothing.
Distribution DistributionOf(std::vector<double> values);

struct BenchReport {
  double duration = 0;  // seconds, of all
  int64_t completed = 0, failed = 0;
  int64_t total_input_tokens = 0, total_output_tokens = 0, total_words = 0;
  // Milliseconds. TPOT is that of answers with at least two tokens.
  Distribution ttft, tpot, itl, e2el;
  double max_start_delay = 0;             // ms
  std::map<std::string, int64_t> errors;  // at most kMaxErrors, others as "..."

  static constexpr size_t kMaxErrors = 8;

  static BenchReport Of(const std::vector<BenchSample>& samples, double duration);
  double RequestsPerSecond() const { return static_cast<double>(completed) / duration; }
  double OutputTokensPerSecond() const {
    return static_cast<double>(total_output_tokens) / duration;
  }
  double WordsPerSecond() const { return static_cast<double>(total_words) / duration; }

  std::string Table() const;
  std::string Json() const;
};

}  // namespace longhand::client
