#include "client/bench/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <numeric>

namespace longhand::client {
namespace {

namespace json = boost::json;

// Boost.JSON prints 0.5 as 5E-1, which is right and reads badly.
std::string Number(double value) { return fmt::format("{:.6g}", std::isfinite(value) ? value : 0); }

double Percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

std::string Row(const char* name, const Distribution& d) {
  return fmt::format("{:<28}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name, d.mean, d.p50,
                     d.p90, d.p95, d.p99);
}

std::string Fields(const char* name, const Distribution& d) {
  return fmt::format(
      R"(,"mean_{0}_ms":{1},"median_{0}_ms":{2},"p90_{0}_ms":{3},"p95_{0}_ms":{4},"p99_{0}_ms":{5})",
      name, Number(d.mean), Number(d.p50), Number(d.p90), Number(d.p95), Number(d.p99));
}

}  // namespace

Distribution DistributionOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {.mean = std::accumulate(values.begin(), values.end(), 0.0) /
                  static_cast<double>(values.size()),
          .p50 = Percentile(values, 0.5),
          .p90 = Percentile(values, 0.9),
          .p95 = Percentile(values, 0.95),
          .p99 = Percentile(values, 0.99)};
}

BenchReport BenchReport::Of(const std::vector<BenchSample>& samples, double duration) {
  BenchReport report;
  report.duration = std::max(duration, 1e-9);
  std::vector<double> ttft, tpot, itl, e2el;
  for (const BenchSample& sample : samples) {
    report.max_start_delay = std::max(report.max_start_delay, sample.start_delay * 1e3);
    if (!sample.status.ok()) {
      ++report.failed;
      const std::string text = sample.status.ToString();
      const bool has_room = report.errors.size() < kMaxErrors || report.errors.count(text) > 0;
      ++report.errors[has_room ? text : "..."];
      continue;
    }
    ++report.completed;
    report.total_input_tokens += sample.prompt_tokens;
    report.total_output_tokens += sample.completion_tokens;
    report.total_words += sample.num_words;
    ttft.push_back(sample.time_to_first * 1e3);
    e2el.push_back(sample.end_to_end * 1e3);
    for (const double interval : sample.intervals) itl.push_back(interval * 1e3);
    if (sample.completion_tokens > 1) {
      tpot.push_back((sample.end_to_end - sample.time_to_first) * 1e3 /
                     static_cast<double>(sample.completion_tokens - 1));
    }
  }
  report.ttft = DistributionOf(std::move(ttft));
  report.tpot = DistributionOf(std::move(tpot));
  report.itl = DistributionOf(std::move(itl));
  report.e2el = DistributionOf(std::move(e2el));
  return report;
}

std::string BenchReport::Table() const {
  std::string out = fmt::format(
      "requests                    {} completed, {} failed in {:.2f} s, {:.3f}/s\n"
      "tokens                      {} of prompts, {} of answers, {:.2f}/s\n"
      "words                       {}, {:.2f}/s\n",
      completed, failed, duration, RequestsPerSecond(), total_input_tokens, total_output_tokens,
      OutputTokensPerSecond(), total_words, WordsPerSecond());
  if (max_start_delay >= 1)
    out += fmt::format(
        "started late                by up to {:.0f} ms: connections, or this machine, were busy\n",
        max_start_delay);
  out += fmt::format("{:<28}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "milliseconds", "mean", "p50", "p90",
                     "p95", "p99");
  out += Row("to the first token (TTFT)", ttft) + Row("a token after it (TPOT)", tpot) +
         Row("between pieces (ITL)", itl) + Row("whole answer (E2E)", e2el);
  for (const auto& [text, count] : errors) out += fmt::format("failed {} times: {}\n", count, text);
  return out;
}

std::string BenchReport::Json() const {
  json::object failures;
  for (const auto& [text, count] : errors) failures[text] = count;
  const double total = static_cast<double>(total_input_tokens + total_output_tokens) / duration;
  return fmt::format(
             R"({{"duration":{},"completed":{},"failed":{},"total_input_tokens":{},"total_output_tokens":{},)"
             R"("total_words":{},"request_throughput":{},"output_throughput":{},"total_token_throughput":{},)"
             R"("words_per_second":{},"max_start_delay_ms":{})",
             Number(duration), completed, failed, total_input_tokens, total_output_tokens,
             total_words, Number(RequestsPerSecond()), Number(OutputTokensPerSecond()),
             Number(total), Number(WordsPerSecond()), Number(max_start_delay)) +
         Fields("ttft", ttft) + Fields("tpot", tpot) + Fields("itl", itl) + Fields("e2el", e2el) +
         ",\"errors\":" + json::serialize(failures) + "}";
}

}  // namespace longhand::client
