// The table of every metric: who is to know a name, a label or a bucket finds it here.
// docs/metrics.md is made from it (build/release/tests/metrics_page), and a program that asks for a
// metric, a label or a label's value that is not here ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace longhand {

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

struct MetricLabel {
  std::string name;
  std::vector<std::string> values;  // all that there are; empty: `bound` says what they can be
  std::string bound;
};

struct MetricSpec {
  std::string name;
  MetricType type = MetricType::kGauge;
  std::string unit;
  std::string help;
  std::vector<MetricLabel> labels;
  std::vector<double> buckets;  // of histograms: upper bounds, rising
  bool is_of_group = false;     // where there are several worker groups: with the label group
};

// A name of another server's for what the table has: made of it whenever the page is read, so that
// it costs nothing else.
struct MetricAlias {
  MetricSpec spec;
  std::string source;  // empty: there is no such thing here, and the family stays empty
  std::vector<std::pair<std::string, std::string>>
      renamed_labels;  // from the source's to the alias's
};

std::span<const MetricSpec> CoordinatorMetricTable();
std::span<const MetricSpec> WorkerMetricTable();

// vLLM's names: what its dashboards and the endpoint picker of Kubernetes' Gateway API read. Every
// sample also has model_name and engine, which is the group. Bounds of buckets are vLLM's, and the
// sources have them all.
std::span<const MetricAlias> VllmMetricTable();

// docs/metrics.md.
std::string MetricsPage();

}  // namespace longhand
