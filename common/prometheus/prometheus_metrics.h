// Metrics on prometheus-cpp, served at /metrics.
#pragma once

#include <memory>
#include <string>

#include "common/metrics.h"
#include "common/status.h"

namespace longhand {

class PrometheusMetrics final : public Metrics {
 public:
  PrometheusMetrics();
  ~PrometheusMetrics() override;

  Counter& GetCounter(std::string_view name,
                      std::string_view help,
                      const MetricLabels& labels = {}) override;
  Gauge& GetGauge(std::string_view name,
                  std::string_view help,
                  const MetricLabels& labels = {}) override;
  Histogram& GetHistogram(std::string_view name,
                          std::string_view help,
                          const std::vector<double>& buckets,
                          const MetricLabels& labels = {}) override;

  // Serves on host:port (port 0 picks one) until destruction; once. Returns the address with the
  // real port, or kUnavailable when it cannot be bound.
  Result<std::string> Serve(const std::string& address);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhand
