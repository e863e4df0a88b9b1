// Metrics on prometheus-cpp, served at /metrics.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "common/metrics.h"
#include "common/prometheus/metric_table.h"
#include "common/status.h"

namespace longhand {

// Hands out what `table` declares and LONGHAND_CHECKs that it does: name, type, labels and their
// values. Every family is on the page from the start, empty or not. Any thread.
class PrometheusMetrics final : public Metrics {
 public:
  // `table` outlives this.
  explicit PrometheusMetrics(std::span<const MetricSpec> table);
  ~PrometheusMetrics() override;

  Counter& GetCounter(std::string_view name, const MetricLabels& labels = {}) override;
  Gauge& GetGauge(std::string_view name, const MetricLabels& labels = {}) override;
  Histogram& GetHistogram(std::string_view name, const MetricLabels& labels = {}) override;
  void SetInfo(std::string_view name, const MetricLabels& labels, double value) override;

  // These families too, with these labels beside their own. `aliases` outlive this.
  void AddAliases(std::span<const MetricAlias> aliases, MetricLabels labels);
  void SetLabels(const MetricLabels& labels) override;  // of the table's families

  // Prometheus' text format.
  std::string Page() const;
  // Serves on host:port (port 0 picks one) until destruction; once. Returns the address with the
  // real port, or kUnavailable when it cannot be bound.
  Result<std::string> Serve(const std::string& address);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhand
