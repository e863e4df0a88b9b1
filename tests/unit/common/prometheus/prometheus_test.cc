#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "common/prometheus/prometheus_metrics.h"

namespace longhand {
namespace {

std::string HttpGet(const std::string& address, const std::string& path) {
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(port));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string reply;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;)
    reply.append(buffer, static_cast<size_t>(count));
  close(fd);
  return reply;
}

const std::vector<MetricSpec>& Table() {
  static const std::vector<MetricSpec> table = {
      {"longhand_test_total", MetricType::kCounter, "1", "A count.", {{"kind", {"a", "b"}}}},
      {"longhand_test_level", MetricType::kGauge, "1", "A level."},
      {"longhand_test_seconds", MetricType::kHistogram, "seconds", "A time.", {}, {0.1, 0.5, 1}},
      {"longhand_test_unused", MetricType::kGauge, "1", "Nobody sets it."},
  };
  return table;
}

const std::vector<MetricAlias>& Aliases() {
  static const std::vector<MetricAlias> aliases = {
      {{"other:count_total", MetricType::kCounter, "", "A count.", {{"sort", {"a", "b"}}}},
       "longhand_test_total",
       {{"kind", "sort"}}},
      {{"other:seconds", MetricType::kHistogram, "", "A time.", {}, {0.1, 1}},
       "longhand_test_seconds"},
      {{"other:none", MetricType::kGauge, "", "There is none."}, ""},
  };
  return aliases;
}

bool Has(const std::string& page, const std::string& line) {
  return page.find(line + "\n") != std::string::npos;
}

TEST(PrometheusMetrics, WhatIsCountedIsServed) {
  PrometheusMetrics metrics(Table());
  metrics.GetCounter("longhand_test_total", {{"kind", "a"}}).Increment(2);
  metrics.GetCounter("longhand_test_total", {{"kind", "a"}}).Increment();
  metrics.GetGauge("longhand_test_level").Set(0.5);
  metrics.GetHistogram("longhand_test_seconds").Observe(0.3);
  const Result<std::string> address = metrics.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  const std::string page = HttpGet(*address, "/metrics");
  EXPECT_TRUE(Has(page, "longhand_test_total{kind=\"a\"} 3")) << page;
  EXPECT_TRUE(Has(page, "longhand_test_level 0.5"));
  EXPECT_TRUE(Has(page, "longhand_test_seconds_bucket{le=\"0.5\"} 1"));
  EXPECT_EQ(HttpGet(*address, "/metrics?name=all"), page);
  EXPECT_EQ(HttpGet(*address, "/metricsx").find("HTTP/1.0 404"), 0u);
}

TEST(PrometheusMetrics, AFamilyWithoutSamplesIsOnThePage) {
  const PrometheusMetrics metrics(Table());
  const std::string page = metrics.Page();
  EXPECT_TRUE(Has(page, "# TYPE longhand_test_unused gauge")) << page;
  EXPECT_TRUE(Has(page, "# TYPE longhand_test_seconds histogram"));
}

TEST(PrometheusMetrics, AnAliasHasTheOtherNameLabelsAndBounds) {
  PrometheusMetrics metrics(Table());
  metrics.AddAliases(Aliases(), {{"model_name", "nano"}});
  metrics.GetCounter("longhand_test_total", {{"kind", "b"}}).Increment(7);
  metrics.GetHistogram("longhand_test_seconds").Observe(0.3);
  metrics.GetHistogram("longhand_test_seconds").Observe(0.7);
  const std::string page = metrics.Page();
  EXPECT_TRUE(Has(page, "other:count_total{sort=\"b\",model_name=\"nano\"} 7")) << page;
  EXPECT_TRUE(Has(page, "other:seconds_bucket{model_name=\"nano\",le=\"0.1\"} 0"));
  EXPECT_TRUE(Has(page, "other:seconds_bucket{model_name=\"nano\",le=\"1\"} 2"));
  EXPECT_TRUE(Has(page, "other:seconds_bucket{model_name=\"nano\",le=\"+Inf\"} 2"));
  EXPECT_EQ(page.find("other:seconds_bucket{model_name=\"nano\",le=\"0.5\"}"), std::string::npos);
  EXPECT_TRUE(Has(page, "# TYPE other:none gauge"));
}

TEST(PrometheusMetrics, LabelsOfAllSamplesChangeAtOnce) {
  PrometheusMetrics metrics(Table());
  metrics.GetGauge("longhand_test_level").Set(1);
  metrics.SetLabels({{"rank", "none"}});
  EXPECT_TRUE(Has(metrics.Page(), "longhand_test_level{rank=\"none\"} 1"));
  metrics.SetLabels({{"rank", "3"}});
  EXPECT_TRUE(Has(metrics.Page(), "longhand_test_level{rank=\"3\"} 1"));
}

TEST(PrometheusMetrics, OfAnInfoThereIsTheLatestSeriesAlone) {
  std::vector<MetricSpec> table = Table();
  table.push_back({"longhand_test_info", MetricType::kGauge, "1", "Info.", {{"now", {}, "one"}}});
  PrometheusMetrics metrics(table);
  metrics.SetInfo("longhand_test_info", {{"now", "a"}}, 1);
  metrics.SetInfo("longhand_test_info", {{"now", "b"}}, 2);
  metrics.SetInfo("longhand_test_info", {{"now", "b"}}, 3);
  const std::string page = metrics.Page();
  EXPECT_TRUE(Has(page, "longhand_test_info{now=\"b\"} 3")) << page;
  EXPECT_EQ(page.find("now=\"a\""), std::string::npos);
}

// More values than a family may have series, one after the other.
TEST(PrometheusMetrics, OfAnInfoOfGroupsThereIsTheLatestSeriesOfEach) {
  std::vector<MetricSpec> table = Table();
  table.push_back({"longhand_test_info", MetricType::kGauge, "1", "Info.", {{"now", {}, "one"}}});
  table.back().is_of_group = true;
  PrometheusMetrics metrics(table);
  GroupMetrics first(metrics, 0), second(metrics, 1);
  first.SetInfo("longhand_test_info", {{"now", "a"}}, 1);
  for (int i = 0; i < 5000; ++i)
    second.SetInfo("longhand_test_info", {{"now", std::to_string(i)}}, 1);
  const std::string page = metrics.Page();
  EXPECT_TRUE(Has(page, "longhand_test_info{group=\"0\",now=\"a\"} 1")) << page;
  EXPECT_TRUE(Has(page, "longhand_test_info{group=\"1\",now=\"4999\"} 1")) << page;
  EXPECT_EQ(page.find("now=\"4998\""), std::string::npos);
}

// Where there are several groups; vLLM's word for one is engine.
TEST(PrometheusMetrics, EachGroupHasItsSeriesOfWhatIsAGroups) {
  std::vector<MetricSpec> table = Table();
  for (MetricSpec& spec : table) spec.is_of_group = spec.name != "longhand_test_level";
  PrometheusMetrics metrics(table);
  metrics.AddAliases(Aliases(), {{"model_name", "nano"}, {"engine", "0"}});
  GroupMetrics first(metrics, 0), second(metrics, 1);
  first.GetCounter("longhand_test_total", {{"kind", "a"}}).Increment(2);
  second.GetCounter("longhand_test_total", {{"kind", "a"}}).Increment(3);
  metrics.GetHistogram("longhand_test_seconds").Observe(0.3);  // of all groups
  const std::string page = metrics.Page();
  EXPECT_TRUE(Has(page, "longhand_test_total{group=\"0\",kind=\"a\"} 2")) << page;
  EXPECT_TRUE(Has(page, "longhand_test_total{group=\"1\",kind=\"a\"} 3"));
  EXPECT_TRUE(Has(page, "other:count_total{engine=\"1\",sort=\"a\",model_name=\"nano\"} 3"));
  EXPECT_TRUE(Has(page, "other:seconds_count{model_name=\"nano\",engine=\"0\"} 1"));
}

TEST(PrometheusMetricsDeathTest, WhatIsNoGroupsHasNoGroup) {
  PrometheusMetrics metrics(Table());
  GroupMetrics group(metrics, 0);
  EXPECT_DEATH(group.GetGauge("longhand_test_level"), "longhand_test_level");
}

TEST(PrometheusMetricsDeathTest, WhatTheTableDoesNotDeclareIsNotCounted) {
  PrometheusMetrics metrics(Table());
  EXPECT_DEATH(metrics.GetGauge("longhand_other"), "longhand_other is not in the table");
  EXPECT_DEATH(metrics.GetGauge("longhand_test_total", {{"kind", "a"}}), "is not in the table");
  EXPECT_DEATH(metrics.GetCounter("longhand_test_total", {{"kind", "c"}}), "kind=c");
  EXPECT_DEATH(metrics.GetCounter("longhand_test_total"), "longhand_test_total");
}

TEST(PrometheusMetrics, AnAddressThatIsTakenIsRefused) {
  PrometheusMetrics first(Table());
  PrometheusMetrics second(Table());
  const Result<std::string> address = first.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(second.Serve(*address).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(second.Serve("nonsense").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhand
