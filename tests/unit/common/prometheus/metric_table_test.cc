#include "common/prometheus/metric_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace longhand {
namespace {

bool EndsWith(const std::string& name, const char* suffix) { return name.ends_with(suffix); }

void CheckSpec(const MetricSpec& spec) {
  EXPECT_FALSE(spec.help.empty()) << spec.name;
  const bool is_histogram = spec.type == MetricType::kHistogram;
  EXPECT_EQ(!spec.buckets.empty(), is_histogram) << spec.name;
  EXPECT_TRUE(std::is_sorted(spec.buckets.begin(), spec.buckets.end(), std::less_equal<>()))
      << spec.name;
}

TEST(MetricTable, NamesFollowPrometheusConventions) {
  for (const auto table : {CoordinatorMetricTable(), WorkerMetricTable()}) {
    std::set<std::string> names;
    for (const MetricSpec& spec : table) {
      CheckSpec(spec);
      EXPECT_TRUE(spec.name.starts_with("longhand_")) << spec.name;
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name << " is there twice";
      EXPECT_EQ(EndsWith(spec.name, "_total"), spec.type == MetricType::kCounter) << spec.name;
      EXPECT_EQ(EndsWith(spec.name, "_seconds"), spec.unit == "seconds") << spec.name;
      EXPECT_FALSE(spec.unit.empty()) << spec.name;
      for (const MetricLabel& label : spec.labels)
        EXPECT_EQ(label.values.empty(), !label.bound.empty()) << spec.name << ": values or a bound";
    }
  }
}

// Labels of the metrics that both programs have are alike as far as they share them.
TEST(MetricTable, WhatBothProgramsHaveIsTheSameThing) {
  for (const MetricSpec& ours : CoordinatorMetricTable()) {
    for (const MetricSpec& theirs : WorkerMetricTable()) {
      if (ours.name == theirs.name) {
        EXPECT_EQ(ours.type, theirs.type) << ours.name;
      }
    }
  }
}

TEST(MetricTable, AnAliasIsMadeOfWhatIsThereAndKeepsItsBounds) {
  std::map<std::string, const MetricSpec*> own;
  for (const MetricSpec& spec : CoordinatorMetricTable()) own[spec.name] = &spec;
  for (const MetricAlias& alias : VllmMetricTable()) {
    EXPECT_TRUE(alias.spec.name.starts_with("vllm:")) << alias.spec.name;
    EXPECT_FALSE(alias.spec.help.empty()) << alias.spec.name;
    if (alias.source.empty()) continue;
    ASSERT_TRUE(own.contains(alias.source)) << alias.spec.name;
    const MetricSpec& source = *own[alias.source];
    EXPECT_EQ(source.type, alias.spec.type) << alias.spec.name;
    EXPECT_TRUE(std::includes(source.buckets.begin(), source.buckets.end(),
                              alias.spec.buckets.begin(), alias.spec.buckets.end()))
        << alias.spec.name;
    EXPECT_EQ(source.labels.size(), alias.spec.labels.size()) << alias.spec.name;
  }
}

// The names that dashboards and the endpoint picker know.
TEST(MetricTable, TheNamesOfTheContractAreThere) {
  std::set<std::string> names;
  for (const MetricSpec& spec : CoordinatorMetricTable()) names.insert(spec.name);
  for (const MetricSpec& spec : WorkerMetricTable()) names.insert(spec.name);
  for (const MetricAlias& alias : VllmMetricTable()) names.insert(alias.spec.name);
  for (const char* name : {"longhand_stream_resumes_total",
                           "longhand_failovers_total",
                           "longhand_failover_seconds",
                           "longhand_tokens_replayed_total",
                           "longhand_tokens_lost_total",
                           "longhand_words_target",
                           "longhand_words_actual",
                           "longhand_length_score",
                           "longhand_section_progress",
                           "longhand_repetition_events_total",
                           "longhand_rank_step",
                           "longhand_last_token_age_seconds",
                           "longhand_allreduce_seconds",
                           "vllm:num_requests_running",
                           "vllm:num_requests_waiting",
                           "vllm:kv_cache_usage_perc",
                           "vllm:lora_requests_info",
                           "vllm:cache_config_info",
                           "vllm:time_to_first_token_seconds",
                           "vllm:e2e_request_latency_seconds"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(MetricTable, ThePageInTheDocsIsCurrent) {
  std::ifstream file(LONGHAND_METRICS_PAGE);
  std::ostringstream committed;
  committed << file.rdbuf();
  EXPECT_TRUE(committed.str() == MetricsPage())
      << "run: build/release/tests/metrics_page >docs/metrics.md";
}

}  // namespace
}  // namespace longhand
