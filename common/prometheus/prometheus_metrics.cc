#include "common/prometheus/prometheus_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>

#include "common/check.h"
#include "common/prometheus/exposition.h"
#include "common/prometheus/metrics_server.h"

namespace longhand {
namespace {

// Of labels whose values the table does not list: ranks, of 64 groups of 64 at most. More is a bound
// that does not hold.
constexpr size_t kMaxSeriesOfAFamily = 4096;

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

bool HasGroup(const MetricSpec& spec, const MetricLabels& labels) {
  return spec.is_of_group && !labels.empty() && labels[0].first == "group";
}

void CheckLabels(const MetricSpec& spec, const MetricLabels& labels) {
  const size_t has_group = HasGroup(spec, labels) ? 1 : 0;
  LONGHAND_CHECK_EQ(labels.size(), spec.labels.size() + has_group) << spec.name;
  for (size_t i = 0; i < spec.labels.size(); ++i) {
    const MetricLabel& declared = spec.labels[i];
    const auto& [name, value] = labels[i + has_group];
    const bool is_value =
        declared.values.empty() ||
        std::find(declared.values.begin(), declared.values.end(), value) != declared.values.end();
    LONGHAND_CHECK(name == declared.name && is_value) << spec.name << ": " << name << "=" << value;
  }
}

template <typename Handle>
using Handles = std::map<MetricLabels, std::unique_ptr<Handle>>;

}  // namespace

struct PrometheusMetrics::Impl {
  struct Family {
    const MetricSpec* spec = nullptr;
    Handles<Counter> counters;
    Handles<Gauge> gauges;
    Handles<Histogram> histograms;
    std::map<std::string, prometheus::Gauge*> infos;  // of SetInfo, by group
  };
  // Made by `make` when it is asked for first.
  template <typename Handle, typename Make>
  Handle& Get(std::string_view name,
              const MetricLabels& labels,
              MetricType type,
              Handles<Handle> Family::* handles,
              Make make) {
    std::lock_guard lock(mutex);
    const auto found = families.find(name);
    LONGHAND_CHECK(found != families.end() && found->second.spec->type == type)
        << name << " is not in the table";
    Family& family = found->second;
    CheckLabels(*family.spec, labels);
    auto& slot = (family.*handles)[labels];
    if (!slot) slot = make(*family.spec, prometheus::Labels(labels.begin(), labels.end()));
    LONGHAND_CHECK((family.*handles).size() <= kMaxSeriesOfAFamily) << name;
    return *slot;
  }

  explicit Impl(std::span<const MetricSpec> of) : table(of) {}

  const std::span<const MetricSpec> table;
  prometheus::Registry registry;
  mutable std::mutex mutex;
  std::map<std::string, Family, std::less<>> families;
  MetricLabels labels;
  std::span<const MetricAlias> aliases;
  MetricLabels alias_labels;
  std::unique_ptr<MetricsServer> server;  // last: it reads all of the above
};

PrometheusMetrics::PrometheusMetrics(std::span<const MetricSpec> table)
    : impl_(std::make_unique<Impl>(table)) {
  for (const MetricSpec& spec : table) impl_->families[spec.name].spec = &spec;
}

PrometheusMetrics::~PrometheusMetrics() = default;

Counter& PrometheusMetrics::GetCounter(std::string_view name, const MetricLabels& labels) {
  return impl_->Get(
      name, labels, MetricType::kCounter, &Impl::Family::counters,
      [&](const MetricSpec& spec, const prometheus::Labels& of) {
        auto& family =
            prometheus::BuildCounter().Name(spec.name).Help(spec.help).Register(impl_->registry);
        return std::make_unique<CounterHandle>(family.Add(of));
      });
}

Gauge& PrometheusMetrics::GetGauge(std::string_view name, const MetricLabels& labels) {
  return impl_->Get(
      name, labels, MetricType::kGauge, &Impl::Family::gauges,
      [&](const MetricSpec& spec, const prometheus::Labels& of) {
        auto& family =
            prometheus::BuildGauge().Name(spec.name).Help(spec.help).Register(impl_->registry);
        return std::make_unique<GaugeHandle>(family.Add(of));
      });
}

Histogram& PrometheusMetrics::GetHistogram(std::string_view name, const MetricLabels& labels) {
  return impl_->Get(
      name, labels, MetricType::kHistogram, &Impl::Family::histograms,
      [&](const MetricSpec& spec, const prometheus::Labels& of) {
        auto& family =
            prometheus::BuildHistogram().Name(spec.name).Help(spec.help).Register(impl_->registry);
        return std::make_unique<HistogramHandle>(family.Add(of, spec.buckets));
      });
}

void PrometheusMetrics::SetInfo(std::string_view name, const MetricLabels& labels, double value) {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->families.find(name);
  LONGHAND_CHECK(found != impl_->families.end()) << name << " is not in the table";
  const MetricSpec& spec = *found->second.spec;
  CheckLabels(spec, labels);
  auto& family = prometheus::BuildGauge().Name(spec.name).Help(spec.help).Register(impl_->registry);
  prometheus::Gauge& gauge = family.Add(prometheus::Labels(labels.begin(), labels.end()));
  prometheus::Gauge*& shown = found->second.infos[HasGroup(spec, labels) ? labels[0].second : ""];
  if (shown != nullptr && shown != &gauge) family.Remove(shown);
  shown = &gauge;
  gauge.Set(value);
}

void PrometheusMetrics::AddAliases(std::span<const MetricAlias> aliases, MetricLabels labels) {
  std::lock_guard lock(impl_->mutex);
  impl_->aliases = aliases;
  impl_->alias_labels = std::move(labels);
}

void PrometheusMetrics::SetLabels(const MetricLabels& labels) {
  std::lock_guard lock(impl_->mutex);
  impl_->labels = labels;
}

std::string PrometheusMetrics::Page() const {
  MetricFamilies families = Complete(impl_->registry.Collect(), impl_->table);
  MetricFamilies aliases;
  {
    std::lock_guard lock(impl_->mutex);
    aliases = MakeAliases(families, impl_->aliases, impl_->alias_labels);
    AddLabels(impl_->labels, &families);
  }
  std::move(aliases.begin(), aliases.end(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

Result<std::string> PrometheusMetrics::Serve(const std::string& address) {
  LONGHAND_ASSIGN_OR_RETURN(impl_->server,
                            MetricsServer::Start(address, [this] { return Page(); }));
  return impl_->server->address();
}

}  // namespace longhand
