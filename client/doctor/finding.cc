#include "client/doctor/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace longhand::client {
namespace {

const char* NameOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarn:
      return "warn";
    default:
      return "fail";
  }
}

const char* ColourOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "\033[32m";
    case Verdict::kWarn:
      return "\033[33m";
    default:
      return "\033[31m";
  }
}

}  // namespace

Verdict WorstOf(const Findings& findings) {
  Verdict worst = Verdict::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.verdict);
  return worst;
}

std::string FindingsTable(const Findings& findings, bool is_coloured) {
  size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.subject.size());
  std::string out;
  for (const Finding& finding : findings) {
    out += fmt::format("{}{:<4}{}  {:<{}}  {}\n", is_coloured ? ColourOf(finding.verdict) : "",
                       NameOf(finding.verdict), is_coloured ? "\033[0m" : "", finding.subject,
                       width, finding.found);
    if (!finding.advice.empty()) out += fmt::format("{:{}}-> {}\n", "", width + 8, finding.advice);
  }
  return out;
}

std::string FindingsJson(const Findings& findings) {
  boost::json::array checks;
  for (const Finding& finding : findings) {
    checks.push_back({{"subject", finding.subject},
                      {"verdict", NameOf(finding.verdict)},
                      {"found", finding.found},
                      {"advice", finding.advice}});
  }
  return boost::json::serialize(
      boost::json::object{{"verdict", NameOf(WorstOf(findings))}, {"checks", checks}});
}

}  // namespace longhand::client
