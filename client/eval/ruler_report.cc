#include "client/eval/ruler_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/length_score.h"

namespace longhand::client {

std::vector<RulerLine> LinesOf(const std::vector<RulerText>& texts) {
  std::map<double, RulerLine> lines;
  for (const RulerText& text : texts) {
    RulerLine& line = lines[text.wanted];
    line.wanted = text.wanted;
    line.min = line.count == 0 ? text.written : std::min(line.min, text.written);
    line.max = std::max(line.max, text.written);
    ++line.count;
    line.num_cut_off += text.is_cut_off;
    line.mean += static_cast<double>(text.written);
    line.score_code += LengthScore(text.written, text.wanted);
    line.score_paper += PaperLengthScore(text.written, text.wanted);
  }
  std::vector<RulerLine> out;
  for (auto& [wanted, line] : lines) {
    const auto count = static_cast<double>(line.count);
    line.mean /= count;
    line.score_code /= count;
    line.score_paper /= count;
    out.push_back(line);
  }
  return out;
}

RulerSeries SeriesOf(const std::string& name, const std::vector<RulerLine>& lines) {
  RulerSeries series{.name = name};
  for (const RulerLine& line : lines) series.points.push_back({line.wanted, line.mean});
  return series;
}

std::string TableOf(const std::vector<RulerLine>& lines) {
  std::string out =
      "| words asked for | texts | mean words | written / asked | min | max | S_l (code) | "
      "S_l (paper) | cut off |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const RulerLine& line : lines)
    out += fmt::format("| {:g} | {} | {:.1f} | {:.2f} | {} | {} | {:.1f} | {:.1f} | {} |\n",
                       line.wanted, line.count, line.mean, line.mean / std::max(line.wanted, 1.0),
                       line.min, line.max, line.score_code, line.score_paper, line.num_cut_off);
  return out;
}

boost::json::array JsonOf(const std::vector<RulerLine>& lines) {
  boost::json::array out;
  for (const RulerLine& line : lines)
    out.push_back(boost::json::object{{"L", line.wanted},
                                      {"count", line.count},
                                      {"mean", line.mean},
                                      {"min", line.min},
                                      {"max", line.max},
                                      {"length_score", line.score_code},
                                      {"length_score_paper", line.score_paper},
                                      {"cut_off", line.num_cut_off}});
  return out;
}

}  // namespace longhand::client
