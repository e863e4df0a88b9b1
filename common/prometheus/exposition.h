// What a scrape is told: the families that were counted, completed by the table.
#pragma once

#include <prometheus/metric_family.h>

#include <span>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "common/prometheus/metric_table.h"

namespace longhand {

using MetricFamilies = std::vector<prometheus::MetricFamily>;

// In the table's order; a family of the table that has no sample yet is there, empty.
MetricFamilies Complete(MetricFamilies collected, std::span<const MetricSpec> table);

// On every sample, beside its own; those that it has stay as they are.
void AddLabels(const MetricLabels& labels, MetricFamilies* families);

// The families of `aliases` as `own`, which is complete, has them.
MetricFamilies MakeAliases(const MetricFamilies& own,
                           std::span<const MetricAlias> aliases,
                           const MetricLabels& labels);

}  // namespace longhand
