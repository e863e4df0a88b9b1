// What the engine counts, through a real page, and what it says of a request that has ended.
#include <gtest/gtest.h>

#include <string>

#include "common/prometheus/prometheus_metrics.h"
#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

using std::chrono::milliseconds;

Request Long(const std::string& id, int64_t max_tokens) {
  Request request = MakeRequest(id, 5, max_tokens);
  request.ignore_eos = true;
  return request;
}

class EngineMetricsTest : public testing::Test {
 protected:
  // The value of the sample that is written so, with its labels.
  double Value(const std::string& sample) const {
    const std::string page = metrics_.Page();
    const size_t at = page.find("\n" + sample + " ");
    EXPECT_NE(at, std::string::npos) << sample << " is not in\n" << page;
    return at == std::string::npos ? -1 : std::stod(page.substr(at + sample.size() + 2));
  }
  // Until `recording` has `num_events`, `a_step` apart.
  void RunUntil(const Recording& recording, size_t num_events, Duration a_step) {
    while (recording.events.size() < num_events && !harness_.plans_.empty()) {
      harness_.clock_.Advance(a_step);
      harness_.RunStep();
    }
  }
  // After ten of its fifty tokens; another group is there 300 ms later.
  auto LoseTheGroupUnderA() {
    harness_.FormGroup();
    const auto recording = harness_.Submit(Long("a", 50));
    RunUntil(*recording, 10, milliseconds(10));
    harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
    harness_.Turn();
    harness_.clock_.Advance(milliseconds(300));
    harness_.FormGroup(2);
    return recording;
  }

  PrometheusMetrics metrics_{CoordinatorMetricTable()};
  EngineHarness harness_{SmallConfig(), SmallShape(), metrics_};
};

TEST_F(EngineMetricsTest, ARequestThatEndedIsToldInNumbers) {
  harness_.FormGroup();
  const auto recording = harness_.Submit(Long("a", 21));
  harness_.clock_.Advance(milliseconds(200));
  RunUntil(*recording, 21, milliseconds(10));
  ASSERT_EQ(harness_.ended_.size(), 1u);
  const RequestSummary& ended = harness_.ended_[0];
  EXPECT_EQ(ended.request_id, "a");
  EXPECT_EQ(ended.num_prompt_tokens, 5);
  EXPECT_EQ(ended.num_tokens, 21);
  EXPECT_EQ(ended.finish, "length");
  EXPECT_EQ(ended.finish_detail, "max_tokens");
  EXPECT_FALSE(ended.is_resumed);
  EXPECT_EQ(ended.queue_time, Duration::zero());
  EXPECT_EQ(ended.time_to_first_token, Duration(milliseconds(210)));
  EXPECT_EQ(ended.time_per_output_token, Duration(milliseconds(10)));
  EXPECT_EQ(Value("longhand_request_generation_tokens_sum"), 21);
  EXPECT_DOUBLE_EQ(Value("longhand_request_decode_seconds_sum"), 0.2);
  EXPECT_DOUBLE_EQ(Value("longhand_time_per_output_token_seconds_sum"), 0.01);
  EXPECT_EQ(Value("longhand_words_total"), static_cast<double>(ended.num_words));
  EXPECT_EQ(Value("longhand_words_actual_sum"), static_cast<double>(ended.num_words));
  EXPECT_GT(ended.num_words, 0);
}

// What dashboards divide by the words asked.
TEST_F(EngineMetricsTest, WordsTowardATargetAreThoseOfAnswersThatHaveOne) {
  harness_.FormGroup();
  const auto free = harness_.Submit(Long("a", 21));
  RunUntil(*free, 21, milliseconds(10));
  EXPECT_EQ(Value("longhand_words_toward_targets_total"), 0);
  Request request = Long("b", 21);
  request.target_words = 1000;
  const auto aimed = harness_.Submit(std::move(request));
  RunUntil(*aimed, 21, milliseconds(10));
  ASSERT_EQ(harness_.ended_.size(), 2u);
  EXPECT_GT(harness_.ended_[1].num_words, 0);
  EXPECT_EQ(Value("longhand_words_toward_targets_total"),
            static_cast<double>(harness_.ended_[1].num_words));
  EXPECT_EQ(Value("longhand_words_target_sum"), 1000);
}

TEST_F(EngineMetricsTest, OneThatIsCancelledOrRefusedIsToldToo) {
  harness_.FormGroup();
  const auto recording = harness_.Submit(Long("a", 50));
  RunUntil(*recording, 3, milliseconds(10));
  ASSERT_TRUE(harness_.engine_.Cancel("a", nullptr).ok());
  harness_.Turn();
  harness_.gate_.admission = Unavailable("the disk is full");
  harness_.Submit(Long("b", 50));
  ASSERT_EQ(harness_.ended_.size(), 2u);
  EXPECT_EQ(harness_.ended_[0].finish, "cancelled");
  EXPECT_EQ(harness_.ended_[0].num_tokens, 3);
  EXPECT_EQ(harness_.ended_[1].request_id, "b");
  EXPECT_EQ(harness_.ended_[1].finish, "unavailable");
  EXPECT_EQ(Value("longhand_requests_ended_early_total{reason=\"cancelled\"}"), 1);
  EXPECT_EQ(Value("longhand_requests_ended_early_total{reason=\"unavailable\"}"), 1);
}

TEST_F(EngineMetricsTest, AFailoverLastsUntilATokenComesAndSaysWhatIsComputedAgain) {
  const auto recording = LoseTheGroupUnderA();
  EXPECT_EQ(Value("longhand_failover_seconds_count"), 0);
  EXPECT_EQ(Value("longhand_stream_resumes_total{cause=\"worker_group_lost\"}"), 1);
  EXPECT_EQ(Value("longhand_tokens_replayed_total"), 5 + 10 - 1);  // The last one was not in KV.
  RunUntil(*recording, 11, milliseconds(200));
  EXPECT_EQ(Value("longhand_failover_seconds_count"), 1);
  EXPECT_DOUBLE_EQ(Value("longhand_failover_seconds_sum"), 0.5);
  harness_.RunToEnd();
  EXPECT_TRUE(harness_.ended_.at(0).is_resumed);
}

// One answer runs at a time: the second one's turn comes long after the request's.
TEST_F(EngineMetricsTest, ARequestIsAdmittedWithTheFirstOfItsAnswers) {
  EngineConfig config = SmallConfig();
  config.max_num_seqs = 1;
  PrometheusMetrics metrics(CoordinatorMetricTable());
  EngineHarness harness(config, SmallShape(), metrics);
  harness.FormGroup();
  Request request = Long("a", 4);
  request.num_choices = 2;
  harness.Submit(request);
  while (!harness.plans_.empty()) {
    harness.clock_.Advance(milliseconds(10));
    harness.RunStep();
  }
  const RequestSummary& ended = harness.ended_.at(0);
  EXPECT_EQ(ended.queue_time, Duration::zero());
  EXPECT_EQ(ended.prefill_time, Duration(milliseconds(10)));
}

TEST_F(EngineMetricsTest, AFailoverThatNobodyWaitsForAnyMoreIsOver) {
  LoseTheGroupUnderA();
  EXPECT_TRUE(harness_.engine_.Cancel("a", nullptr).ok());
  harness_.Turn();
  harness_.clock_.Advance(std::chrono::hours(1));
  harness_.Submit(Long("b", 2));
  harness_.RunToEnd();
  EXPECT_DOUBLE_EQ(Value("longhand_failover_seconds_sum"), 0.3);
}

TEST_F(EngineMetricsTest, WithoutRequestsAFailoverLastsUntilTheNextGroup) {
  harness_.FormGroup();
  harness_.engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness_.Turn();
  harness_.clock_.Advance(milliseconds(250));
  harness_.FormGroup(2);
  EXPECT_DOUBLE_EQ(Value("longhand_failover_seconds_sum"), 0.25);
}

// Its first token was another coordinator's, so nobody knows how long it took.
TEST_F(EngineMetricsTest, ARestoredRequestCountsOnceAndHasNoTimeToItsFirstToken) {
  harness_.FormGroup();
  const Request request = Long("a", 30);
  const auto begun = harness_.Submit(request);
  RunUntil(*begun, 10, milliseconds(10));

  PrometheusMetrics metrics(CoordinatorMetricTable());
  EngineHarness next(SmallConfig(), SmallShape(), metrics);
  next.Restore(request, *begun);
  next.FormGroup();
  next.RunToEnd();
  ASSERT_EQ(next.ended_.size(), 1u);
  EXPECT_EQ(next.ended_[0].num_tokens, 30);
  EXPECT_TRUE(next.ended_[0].is_resumed);
  EXPECT_FALSE(next.ended_[0].time_to_first_token.has_value());
  const std::string page = metrics.Page();
  EXPECT_NE(page.find("longhand_stream_resumes_total{cause=\"coordinator_restart\"} 1"),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("longhand_stream_resumes_total{cause=\"worker_group_lost\"} 0"),
            std::string::npos);
  EXPECT_NE(page.find("longhand_tokens_replayed_total 15"), std::string::npos);
  EXPECT_NE(page.find("longhand_time_to_first_token_seconds_count 0"), std::string::npos);
}

TEST_F(EngineMetricsTest, AnImageThatIsThereAlreadyIsAHit) {
  harness_.FormGroup();
  Request first = Long("a", 30);
  AddImage(first, 1, 3, 1);
  Request second = Long("b", 3);
  AddImage(second, 1, 3, 1);
  harness_.Submit(first);
  harness_.Submit(second);
  harness_.RunToEnd();
  EXPECT_EQ(Value("longhand_image_cache_queries_total"), 2);
  EXPECT_EQ(Value("longhand_image_cache_hits_total"), 1);
  EXPECT_EQ(Value("longhand_images_encoded_total"), 1);
}

}  // namespace
}  // namespace longhand::engine
