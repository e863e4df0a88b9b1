#include "common/metrics.h"

namespace longhand {
namespace {

class NullMetrics final : public Metrics, Counter, Gauge, Histogram {
 public:
  Counter& GetCounter(std::string_view, const MetricLabels&) override { return *this; }
  Gauge& GetGauge(std::string_view, const MetricLabels&) override { return *this; }
  Histogram& GetHistogram(std::string_view, const MetricLabels&) override { return *this; }
  void SetInfo(std::string_view, const MetricLabels&, double) override {}
  void SetLabels(const MetricLabels&) override {}

 private:
  void Increment(double) override {}
  void Set(double) override {}
  void Observe(double) override {}
};

}  // namespace

Metrics& NoMetrics() {
  static NullMetrics metrics;
  return metrics;
}

}  // namespace longhand
