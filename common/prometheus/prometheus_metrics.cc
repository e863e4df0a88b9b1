#include "common/prometheus/prometheus_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <mutex>

#include "common/prometheus/metrics_server.h"

namespace longhand {
namespace {

class CounterHandle final : public Counter {
 public:
  explicit CounterHandle(prometheus::Counter& counter) : counter_(counter) {}
  void Increment(double by) override { counter_.Increment(by); }

 private:
  prometheus::Counter& counter_;
};

class GaugeHandle final : public Gauge {
 public:
  explicit GaugeHandle(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Set(double value) override { gauge_.Set(value); }

 private:
  prometheus::Gauge& gauge_;
};

class HistogramHandle final : public Histogram {
 public:
  explicit HistogramHandle(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void Observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

std::string Key(std::string_view name, const MetricLabels& labels) {
  std::string key(name);
  for (const auto& [label, value] : labels) key += '\0' + label + '\0' + value;
  return key;
}

prometheus::Labels ToLabels(const MetricLabels& labels) { return {labels.begin(), labels.end()}; }

}  // namespace

struct PrometheusMetrics::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<Counter>> counters;
  std::map<std::string, std::unique_ptr<Gauge>> gauges;
  std::map<std::string, std::unique_ptr<Histogram>> histograms;
  std::unique_ptr<MetricsServer> server;
};

PrometheusMetrics::PrometheusMetrics() : impl_(std::make_unique<Impl>()) {}
PrometheusMetrics::~PrometheusMetrics() = default;

Counter& PrometheusMetrics::GetCounter(std::string_view name,
                                       std::string_view help,
                                       const MetricLabels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->counters[Key(name, labels)];
  if (!slot) {
    auto& family = prometheus::BuildCounter()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(*impl_->registry);
    slot = std::make_unique<CounterHandle>(family.Add(ToLabels(labels)));
  }
  return *slot;
}

Gauge& PrometheusMetrics::GetGauge(std::string_view name,
                                   std::string_view help,
                                   const MetricLabels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->gauges[Key(name, labels)];
  if (!slot) {
    auto& family = prometheus::BuildGauge()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(*impl_->registry);
    slot = std::make_unique<GaugeHandle>(family.Add(ToLabels(labels)));
  }
  return *slot;
}

Histogram& PrometheusMetrics::GetHistogram(std::string_view name,
                                           std::string_view help,
                                           const std::vector<double>& buckets,
                                           const MetricLabels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->histograms[Key(name, labels)];
  if (!slot) {
    auto& family = prometheus::BuildHistogram()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(*impl_->registry);
    slot = std::make_unique<HistogramHandle>(
        family.Add(ToLabels(labels), prometheus::Histogram::BucketBoundaries(buckets)));
  }
  return *slot;
}

Result<std::string> PrometheusMetrics::Serve(const std::string& address) {
  LONGHAND_ASSIGN_OR_RETURN(impl_->server, MetricsServer::Start(address, impl_->registry));
  return impl_->server->address();
}

}  // namespace longhand
