// Prints docs/metrics.md: build/release/tests/metrics_page >docs/metrics.md
#include <cstdio>

#include "common/prometheus/metric_table.h"

int main() { std::fputs(longhand::MetricsPage().c_str(), stdout); }
