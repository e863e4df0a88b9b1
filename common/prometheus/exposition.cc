#include "common/prometheus/exposition.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "common/check.h"

namespace longhand {
namespace {

prometheus::MetricType TypeOf(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

prometheus::MetricFamily Empty(const MetricSpec& spec) {
  prometheus::MetricFamily family;
  family.name = spec.name;
  family.help = spec.help;
  family.type = TypeOf(spec.type);
  return family;
}

// Counts are cumulative, so those of the bounds that both have are right for the coarser ones too.
void KeepBounds(const std::vector<double>& bounds, prometheus::ClientMetric* sample) {
  std::erase_if(sample->histogram.bucket, [&](const auto& bucket) {
    return bucket.upper_bound < std::numeric_limits<double>::infinity() &&
           !std::binary_search(bounds.begin(), bounds.end(), bucket.upper_bound);
  });
}

void Rename(const std::vector<std::pair<std::string, std::string>>& names,
            prometheus::ClientMetric* sample) {
  for (auto& label : sample->label) {
    for (const auto& [from, to] : names) {
      if (label.name == from) {
        label.name = to;
        break;
      }
    }
  }
}

}  // namespace

MetricFamilies Complete(MetricFamilies collected, std::span<const MetricSpec> table) {
  std::map<std::string, prometheus::MetricFamily> by_name;
  for (prometheus::MetricFamily& family : collected) by_name[family.name] = std::move(family);
  MetricFamilies complete;
  for (const MetricSpec& spec : table) {
    const auto found = by_name.find(spec.name);
    complete.push_back(found == by_name.end() ? Empty(spec) : std::move(found->second));
  }
  return complete;
}

void AddLabels(const MetricLabels& labels, MetricFamilies* families) {
  for (prometheus::MetricFamily& family : *families) {
    for (prometheus::ClientMetric& sample : family.metric) {
      for (const auto& [name, value] : labels) {
        const bool has_it = std::any_of(sample.label.begin(), sample.label.end(),
                                        [&](const auto& label) { return label.name == name; });
        if (!has_it) sample.label.push_back({name, value});
      }
    }
  }
}

MetricFamilies MakeAliases(const MetricFamilies& own,
                           std::span<const MetricAlias> aliases,
                           const MetricLabels& labels) {
  MetricFamilies families;
  for (const MetricAlias& alias : aliases) {
    families.push_back(Empty(alias.spec));
    if (alias.source.empty()) continue;
    const auto source = std::find_if(
        own.begin(), own.end(), [&](const auto& family) { return family.name == alias.source; });
    LONGHAND_CHECK(source != own.end()) << alias.spec.name << " is made of " << alias.source;
    families.back().metric = source->metric;
    for (prometheus::ClientMetric& sample : families.back().metric) {
      if (alias.spec.type == MetricType::kHistogram) KeepBounds(alias.spec.buckets, &sample);
      Rename(alias.renamed_labels, &sample);
      Rename({{"group", "engine"}}, &sample);
    }
  }
  AddLabels(labels, &families);
  return families;
}

}  // namespace longhand
