// docs/metrics.md, from the table.
#include <sstream>

#include "common/prometheus/metric_table.h"

namespace longhand {
namespace {

const char* NameOf(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      break;
  }
  return "histogram";
}

std::string LabelsOf(const MetricSpec& spec) {
  std::string text;
  for (const MetricLabel& label : spec.labels) {
    text += (text.empty() ? "`" : "; `") + label.name + "`";
    if (!label.bound.empty()) text += ": " + label.bound;
    for (size_t i = 0; i < label.values.size(); ++i)
      text += (i == 0 ? ": `" : ", `") + label.values[i] + "`";
  }
  if (spec.is_of_group) text += text.empty() ? "`group`" : "; `group`";
  return text;
}

void AddTable(std::span<const MetricSpec> table, std::ostream& page) {
  page << "| metric | type | unit | labels | what it says |\n|---|---|---|---|---|\n";
  for (const MetricSpec& spec : table) {
    page << "| `" << spec.name << "` | " << NameOf(spec.type) << " | " << spec.unit << " | "
         << LabelsOf(spec) << " | " << spec.help << " |\n";
  }
}

void AddBuckets(std::span<const MetricSpec> table, std::ostream& page) {
  for (const MetricSpec& spec : table) {
    if (spec.type != MetricType::kHistogram) continue;
    page << "- `" << spec.name << "`:";
    for (const double bound : spec.buckets) page << ' ' << bound;
    page << "\n";
  }
}

}  // namespace

std::string MetricsPage() {
  std::ostringstream page;
  page << "# Metrics\n\n"
          "Made by `build/release/tests/metrics_page` from the table in `common/prometheus`; a "
          "test compares them.\n\n"
          "Each program has a page at `/metrics`, in Prometheus' text format: the coordinator at "
          "`--metrics-address` (8002), "
          "each worker at its own `--metrics-address`; under `longhand serve` these are in the "
          "ready file, and "
          "`--worker-metrics-address` says where. Every family is on the page from the start; one "
          "without samples has "
          "nothing to say yet. `cell` is a label that the scraper adds: the chart's monitors do, "
          "and "
          "`deploy/monitoring/prometheus.yml`.\n\n"
          "## Coordinator\n\n"
          "The label `group` is there where there are several worker groups, 0 to "
          "`--data-parallel-size` less 1; each counts "
          "for itself.\n\n";
  AddTable(CoordinatorMetricTable(), page);
  page << "\n## Workers\n\n"
          "Every sample has the label `rank`: the worker's rank in its latest group, `none` before "
          "it has one (a spare); and "
          "`group` where there are several. "
          "A worker that takes another rank's place goes on counting under that rank. "
          "`longhand_gpu_*` come from NVML "
          "(`libnvidia-ml.so.1`, opened at run time) once a second; they are absent, not zero, "
          "without a GPU, and where the "
          "driver does not tell.\n\n";
  AddTable(WorkerMetricTable(), page);
  page << "\n## vLLM's names\n\n"
          "On the coordinator's page too, for dashboards and for the endpoint picker of "
          "Kubernetes' Gateway API; "
          "`--metrics-compat none` leaves them out. Samples have the labels `model_name` and "
          "`engine`, the group, and bounds of buckets "
          "are vLLM's. Those without a source are empty.\n\n"
          "| metric | type | made of | what it says |\n|---|---|---|---|\n";
  for (const MetricAlias& alias : VllmMetricTable()) {
    page << "| `" << alias.spec.name << "` | " << NameOf(alias.spec.type) << " | "
         << (alias.source.empty() ? "" : "`" + alias.source + "`") << " | " << alias.spec.help
         << " |\n";
  }
  page << "\n## Bounds of histograms\n\n";
  AddBuckets(CoordinatorMetricTable(), page);
  AddBuckets(WorkerMetricTable(), page);
  return page.str();
}

}  // namespace longhand
