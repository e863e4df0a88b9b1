#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>

#include "client/bench/bench_prompts.h"
#include "client/bench/bench_report.h"
#include "client/bench/bench_run.h"
#include "client/bench/sse_parser.h"
#include "tests/testing/temp_directory.h"

namespace longhand::client {
namespace {

using ::testing::ElementsAre;

TEST(SseParser, EventsComeOutHoweverTheirBytesAreCut) {
  const std::string stream =
      ": keep-alive\n\ndata: {\"a\":1}\n\nid: 7\r\nevent: x\r\ndata: one\r\ndata:two\r\n\r\ndata: "
      "[DONE]\n\ndata: cut";
  for (size_t size = 1; size <= stream.size(); ++size) {
    SseParser parser;
    std::vector<std::string> events;
    for (size_t begin = 0; begin < stream.size(); begin += size) {
      ASSERT_TRUE(parser
                      .Add(std::string_view(stream).substr(begin, size),
                           [&](std::string_view data) { events.emplace_back(data); })
                      .ok());
    }
    EXPECT_THAT(events, ElementsAre("{\"a\":1}", "one\ntwo", "[DONE]")) << "in pieces of " << size;
  }
}

TEST(SseParser, AnEventWithoutAnEndIsRefused) {
  SseParser parser;
  const std::string piece(1 << 20, 'x');
  Status status = OkStatus();
  for (int i = 0; i < 32 && status.ok(); ++i) status = parser.Add(piece, [](std::string_view) {});
  EXPECT_EQ(status.code(), StatusCode::kInternal);
}

// numpy.percentile([1, 2, 3, 4, 10], [50, 90, 95, 99])
TEST(BenchReport, PercentilesAreNumpys) {
  const Distribution d = DistributionOf({10, 1, 4, 3, 2});
  EXPECT_DOUBLE_EQ(d.mean, 4);
  EXPECT_DOUBLE_EQ(d.p50, 3);
  EXPECT_DOUBLE_EQ(d.p90, 7.6);
  EXPECT_DOUBLE_EQ(d.p95, 8.8);
  EXPECT_NEAR(d.p99, 9.76, 1e-12);
  EXPECT_EQ(DistributionOf({}).p99, 0);
}

TEST(BenchReport, CountsWhatCompletedAndNamesWhatFailed) {
  BenchSample good{.time_to_first = 0.1,
                   .end_to_end = 0.5,
                   .intervals = {0.2, 0.2},
                   .prompt_tokens = 7,
                   .completion_tokens = 3,
                   .num_words = 2};
  std::vector<BenchSample> samples = {good, good};
  for (int i = 0; i < 20; ++i) samples.push_back({.status = Unavailable("reason ", i)});
  const BenchReport report = BenchReport::Of(samples, 2);
  EXPECT_EQ(report.completed, 2);
  EXPECT_EQ(report.failed, 20);
  EXPECT_EQ(report.errors.size(), BenchReport::kMaxErrors + 1);
  const boost::json::object json = boost::json::parse(report.Json()).as_object();
  EXPECT_DOUBLE_EQ(json.at("mean_ttft_ms").to_number<double>(), 100);
  EXPECT_DOUBLE_EQ(json.at("median_tpot_ms").to_number<double>(), 200);
  EXPECT_DOUBLE_EQ(json.at("p99_itl_ms").to_number<double>(), 200);
  EXPECT_DOUBLE_EQ(json.at("output_throughput").to_number<double>(), 3);
  EXPECT_DOUBLE_EQ(json.at("words_per_second").to_number<double>(), 2);
}

TEST(BenchPrompts, AreTheSameForASeedAndDifferFromEachOther) {
  const auto prompts = RandomPrompts(3, 20, 1);
  EXPECT_EQ(prompts, RandomPrompts(3, 20, 1));
  EXPECT_NE(prompts, RandomPrompts(3, 20, 2));
  EXPECT_NE(prompts[0].substr(0, 12), prompts[1].substr(0, 12));
}

TEST(BenchPrompts, ComeFromAFileInTurn) {
  const testing::TempDirectory directory;
  const auto path = directory.Write("prompts", "one\n\n{\"prompt\": \"two\"}\n");
  EXPECT_THAT(*PromptsOfFile(path, 3), ElementsAre("one", "two", "one"));
  EXPECT_EQ(PromptsOfFile(directory.Write("wrong", "{\"text\": 1}\n"), 1).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(PromptsOfFile(directory / "none", 1).status().code(), StatusCode::kNotFound);
}

TEST(BenchPrompts, ArriveAtTheRateThatWasAskedFor) {
  const std::vector<double> times = ArrivalTimes(10'000, 50, /*seed=*/3);
  EXPECT_EQ(times.front(), 0);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  EXPECT_NEAR(times.back(), 200, 10);  // The mean's deviation is 1%: five of it.
  EXPECT_THAT(ArrivalTimes(2, 0, 3), ElementsAre(0, 0));
}

// A stand-in for a server: answers at once, or fails when the prompt says so.
class StandInTarget final : public BenchTarget {
 public:
  Result<BenchUsage> Ask(const BenchRequest& request, const OnPiece& on_piece) override {
    if (request.prompt == "fail") return Unavailable("gone");
    if (request.prompt == "nothing") return BenchUsage{};
    on_piece("two ");
    on_piece("words");
    return BenchUsage{.prompt_tokens = 4, .completion_tokens = static_cast<int64_t>(request.seed)};
  }
};

TEST(BenchRun, EachPromptHasItsSample) {
  BenchLoad load{
      .prompts = {"a", "fail", "nothing", "b"}, .arrivals = {0, 0, 0, 0}, .max_concurrency = 2};
  load.request.seed = 10;
  BenchProgress progress;
  const BenchRun run = RunBench(load, [] { return std::make_unique<StandInTarget>(); }, progress);
  ASSERT_EQ(run.samples.size(), 4u);
  EXPECT_EQ(run.samples[0].completion_tokens, 10);
  EXPECT_EQ(run.samples[3].completion_tokens, 13);
  EXPECT_EQ(run.samples[0].num_words, 2);
  EXPECT_EQ(run.samples[0].intervals.size(), 1u);
  EXPECT_EQ(run.samples[1].status.code(), StatusCode::kUnavailable);
  EXPECT_FALSE(run.samples[2].status.ok());
  EXPECT_EQ(progress.completed, 2);
  EXPECT_EQ(progress.failed, 2);
  EXPECT_EQ(progress.running, 0);
}

}  // namespace
}  // namespace longhand::client
