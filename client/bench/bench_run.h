// Sends a benchmark's requests as they arrive, and measures the answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/bench/bench_report.h"
#include "client/bench/bench_target.h"

namespace longhand::client {

struct BenchLoad {
  std::vector<std::string> prompts;
  std::vector<double> arrivals;  // seconds from the start, one for each prompt, rising
  BenchRequest request;          // of all; its prompt and seed are set for each
  int max_concurrency = 1;       // connections, each with a thread
};

// Any thread.
struct BenchProgress {
  std::atomic<int64_t> completed{0}, failed{0}, pieces{0}, running{0};
};

struct BenchRun {
  std::vector<BenchSample> samples;  // one for each prompt
  double duration = 0;               // seconds
};

// Blocks. `make_target` is called once for each connection.
BenchRun RunBench(const BenchLoad& load,
                  const std::function<std::unique_ptr<BenchTarget>()>& make_target,
                  BenchProgress& progress);

}  // namespace longhand::client
