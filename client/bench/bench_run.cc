#include "client/bench/bench_run.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "common/duration.h"
#include "common/text/word_counter.h"

namespace longhand::client {
namespace {

using Clock = std::chrono::steady_clock;

BenchSample Measure(BenchTarget& target,
                    const BenchRequest& request,
                    BenchProgress& progress,
                    const WordCounter& words) {
  BenchSample sample;
  std::string text;
  int64_t num_pieces = 0;
  const Clock::time_point sent = Clock::now();
  Clock::time_point last = sent;
  const Result<BenchUsage> usage = target.Ask(request, [&](std::string_view piece) {
    const Clock::time_point now = Clock::now();
    if (num_pieces++ == 0) {
      sample.time_to_first = Seconds(now - sent);
    } else {
      sample.intervals.push_back(Seconds(now - last));
    }
    last = now;
    text += piece;
    ++progress.pieces;
  });
  sample.end_to_end = Seconds(Clock::now() - sent);
  sample.status = usage.status();
  if (usage.ok() && num_pieces == 0) sample.status = Internal("the answer is empty");
  if (!sample.status.ok()) return sample;
  sample.prompt_tokens = usage->prompt_tokens;
  sample.completion_tokens = usage->completion_tokens > 0 ? usage->completion_tokens : num_pieces;
  sample.num_words = words.Count(text);
  return sample;
}

}  // namespace

BenchRun RunBench(const BenchLoad& load,
                  const std::function<std::unique_ptr<BenchTarget>()>& make_target,
                  BenchProgress& progress) {
  BenchRun run;
  run.samples.resize(load.prompts.size());
  std::atomic<size_t> next{0};
  const WordCounter words;
  std::vector<std::unique_ptr<BenchTarget>> targets;
  const size_t num_threads =
      std::min(load.prompts.size(), static_cast<size_t>(load.max_concurrency));
  for (size_t i = 0; i < num_threads; ++i) targets.push_back(make_target());
  const Clock::time_point start = Clock::now();
  const auto work = [&](BenchTarget& target) {
    for (size_t i = next++; i < load.prompts.size(); i = next++) {
      const auto due = start + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(load.arrivals[i]));
      std::this_thread::sleep_until(due);
      const bool has_rate = load.arrivals.back() > 0;
      const double delay = has_rate ? Seconds(Clock::now() - due) : 0;
      BenchRequest request = load.request;
      request.prompt = load.prompts[i];
      request.seed += i;
      ++progress.running;
      run.samples[i] = Measure(target, request, progress, words);
      run.samples[i].start_delay = delay;
      --progress.running;
      ++(run.samples[i].status.ok() ? progress.completed : progress.failed);
    }
  };
  std::vector<std::thread> threads;
  for (const auto& target : targets) threads.emplace_back(work, std::ref(*target));
  for (std::thread& thread : threads) thread.join();
  run.duration = Seconds(Clock::now() - start);
  return run;
}

}  // namespace longhand::client
