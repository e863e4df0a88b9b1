// The ruler's plot: words written over words asked for, both on logarithmic axes.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace longhand::client {

struct RulerSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // words asked for, mean words written; rising
};

// SVG: a line for each series, and a dashed one where both are equal. Axes begin at 400 words, or
// lower where a series does.
std::string PlotRuler(const std::vector<RulerSeries>& series);

}  // namespace longhand::client
