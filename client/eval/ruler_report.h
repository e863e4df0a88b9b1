// RulerReport: how long the texts are that were asked for at each length.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "client/eval/ruler_plot.h"

namespace longhand::client {

struct RulerText {
  double wanted = 0;
  int64_t written = 0;
  bool is_cut_off = false;  // by max_tokens or the end of the context
};

struct RulerLine {
  double wanted = 0;
  int64_t count = 0, num_cut_off = 0;
  double mean = 0;  // words
  int64_t min = 0, max = 0;
  double score_code = 0, score_paper = 0;  // means of S_l
};

// One line for each length, rising.
std::vector<RulerLine> LinesOf(const std::vector<RulerText>& texts);
RulerSeries SeriesOf(const std::string& name, const std::vector<RulerLine>& lines);
// As Markdown, which reads as well on a terminal.
std::string TableOf(const std::vector<RulerLine>& lines);
boost::json::array JsonOf(const std::vector<RulerLine>& lines);

}  // namespace longhand::client
