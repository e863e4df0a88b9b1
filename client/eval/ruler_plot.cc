#include "client/eval/ruler_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace longhand::client {
namespace {

constexpr double kWidth = 760, kHeight = 600;
constexpr double kLeft = 90, kRight = 30, kTop = 30, kBottom = 76;
constexpr double kFirst = 400;  // words
constexpr double kLeast = 10;   // below which a mean is drawn at the edge
constexpr double kSpace = 1.1;  // beyond the largest
constexpr double kLegendLine = 24;
constexpr double kLetter = 10;  // about, of the legend
// Okabe and Ito's colours, which those who see few colours can tell apart.
constexpr const char* kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                    "#E69F00", "#56B4E9", "#000000", "#F0E442"};

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

struct Axis {
  double first = kFirst, last = kFirst;  // words
  double begin = 0, end = 0;             // pixels

  double operator()(double words) const {
    const double at = std::log(std::max(words, first) / first) / std::log(last / first);
    return begin + (end - begin) * at;
  }
};

std::string TickName(int words) {
  return words < 1000 ? std::to_string(words) : std::to_string(words / 1000) + "k";
}

// 500, 1k, 2k and so on, both ways.
std::vector<int> TicksOf(const Axis& axis) {
  std::vector<int> ticks;
  for (const int words : {10, 20, 50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000})
    if (words >= axis.first && words <= axis.last) ticks.push_back(words);
  return ticks;
}

std::string Grid(const Axis& x, const Axis& y) {
  std::string out = "<g stroke=\"#d8d8d8\" stroke-width=\"1\">\n";
  for (const int words : TicksOf(x))
    out += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\"/>\n", x(words), y.begin, y.end);
  for (const int words : TicksOf(y))
    out += fmt::format("<path d=\"M{0:.1f} {1:.1f}H{2:.1f}\"/>\n", x.begin, y(words), x.end);
  out += "</g>\n<g fill=\"#333\" font-size=\"16\">\n";
  for (const int words : TicksOf(x))
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       x(words), y.begin + 24, TickName(words));
  for (const int words : TicksOf(y))
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                       x.begin - 10, y(words) + 5.5, TickName(words));
  out += "</g>\n";
  out +=
      fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\" fill=\"none\" stroke=\"#333\"/>\n",
                  x.begin, y.end, y.begin, x.end);
  return out;
}

std::string Titles(const Axis& x, const Axis& y) {
  const double middle_x = (x.begin + x.end) / 2, middle_y = (y.begin + y.end) / 2;
  return fmt::format(
      "<g fill=\"#111\" font-size=\"18\" text-anchor=\"middle\">\n"
      "<text x=\"{0:.1f}\" y=\"{1:.1f}\">words asked for</text>\n"
      "<text transform=\"translate(26 {2:.1f}) rotate(-90)\">words written</text>\n</g>\n",
      middle_x, y.begin + 56, middle_y);
}

std::string Line(const RulerSeries& series, const char* colour, const Axis& x, const Axis& y) {
  std::string points, marks;
  for (const auto& [wanted, written] : series.points) {
    points += fmt::format("{:.1f},{:.1f} ", x(wanted), y(written));
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"/>\n", x(wanted), y(written));
  }
  return fmt::format(
      "<g fill=\"{0}\" stroke=\"none\">\n<polyline points=\"{1}\" fill=\"none\" stroke=\"{0}\" "
      "stroke-width=\"3\" stroke-linejoin=\"round\"/>\n{2}</g>\n",
      colour, points, marks);
}

std::string Legend(const std::vector<RulerSeries>& series, const Axis& x, const Axis& y) {
  size_t longest = 0;
  for (const RulerSeries& one : series) longest = std::max(longest, one.name.size());
  std::string out = fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#fff\" "
      "fill-opacity=\"0.85\"/>\n<g font-size=\"16\" fill=\"#111\">\n",
      x.begin + 8, y.end + 6, 56 + kLetter * static_cast<double>(longest),
      kLegendLine * static_cast<double>(series.size()) + 12);
  double at = y.end + kLegendLine;
  for (size_t i = 0; i < series.size(); ++i, at += kLegendLine)
    out += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}h28\" stroke=\"{2}\" stroke-width=\"3\"/>"
        "<circle cx=\"{3:.1f}\" cy=\"{1:.1f}\" r=\"6\" fill=\"{2}\"/>"
        "<text x=\"{4:.1f}\" y=\"{5:.1f}\">{6}</text>\n",
        x.begin + 16, at, kColours[i % std::size(kColours)], x.begin + 30, x.begin + 54, at + 5.5,
        Escape(series[i].name));
  return out + "</g>\n";
}

}  // namespace

std::string PlotRuler(const std::vector<RulerSeries>& series) {
  Axis x{.begin = kLeft, .end = kWidth - kRight};
  Axis y{.begin = kHeight - kBottom, .end = kTop};
  x.first = y.first = kFirst;
  for (const RulerSeries& one : series) {
    for (const auto& [wanted, written] : one.points) {
      x.last = std::max(x.last, wanted);
      y.last = std::max(y.last, written);
      x.first = std::min(x.first, std::max(wanted / kSpace, kLeast));
      y.first = std::min(y.first, std::max(written / kSpace, kLeast));
    }
  }
  y.last = std::max(x.last, y.last) * kSpace;
  x.last *= kSpace;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:g}\" height=\"{1:g}\" "
      "viewBox=\"0 0 {0:g} {1:g}\" font-family=\"DejaVu Sans, Arial, sans-serif\">\n"
      "<rect width=\"{0:g}\" height=\"{1:g}\" fill=\"#fff\"/>\n",
      kWidth, kHeight);
  out += Grid(x, y);
  const double from = std::max(x.first, y.first);
  out += fmt::format(
      "<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"#444\" stroke-width=\"1.5\" "
      "stroke-dasharray=\"7 5\"/>\n",
      x(from), y(from), x(x.last), y(x.last));
  for (size_t i = 0; i < series.size(); ++i)
    out += Line(series[i], kColours[i % std::size(kColours)], x, y);
  out += Titles(x, y);
  out += Legend(series, x, y);
  return out + "</svg>\n";
}

}  // namespace longhand::client
