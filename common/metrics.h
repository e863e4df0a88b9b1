// What rooms without a metrics library use to count: plain handles, given in by main. All are safe
// from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longhand {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void Increment(double by = 1) = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

// Hands out the metrics that the table declares (common/prometheus/metric_table.h), by name; owns
// them. The same name and labels give the same metric.
class Metrics {
 public:
  virtual ~Metrics() = default;
  virtual Counter& GetCounter(std::string_view name, const MetricLabels& labels = {}) = 0;
  virtual Gauge& GetGauge(std::string_view name, const MetricLabels& labels = {}) = 0;
  virtual Histogram& GetHistogram(std::string_view name, const MetricLabels& labels = {}) = 0;
  // A gauge of which there is one series, or one of each group, whose labels change: the earlier
  // one goes.
  virtual void SetInfo(std::string_view name, const MetricLabels& labels, double value) = 0;
  // On every sample from now on, instead of those of an earlier call.
  virtual void SetLabels(const MetricLabels& labels) = 0;
};

// The metrics of one of several worker groups: those of `all`, each with the label group before its
// own.
class GroupMetrics final : public Metrics {
 public:
  // `all` outlives this.
  GroupMetrics(Metrics& all, int group) : all_(all), label_("group", std::to_string(group)) {}

  Counter& GetCounter(std::string_view name, const MetricLabels& labels = {}) override {
    return all_.GetCounter(name, With(labels));
  }
  Gauge& GetGauge(std::string_view name, const MetricLabels& labels = {}) override {
    return all_.GetGauge(name, With(labels));
  }
  Histogram& GetHistogram(std::string_view name, const MetricLabels& labels = {}) override {
    return all_.GetHistogram(name, With(labels));
  }
  void SetInfo(std::string_view name, const MetricLabels& labels, double value) override {
    all_.SetInfo(name, With(labels), value);
  }
  void SetLabels(const MetricLabels& labels) override { all_.SetLabels(labels); }

 private:
  MetricLabels With(MetricLabels labels) const {
    labels.insert(labels.begin(), label_);
    return labels;
  }

  Metrics& all_;
  const std::pair<std::string, std::string> label_;
};

// Counts nothing: for tests and tools.
Metrics& NoMetrics();

}  // namespace longhand
