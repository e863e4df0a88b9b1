#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "client/chaos/chaos.h"

namespace longhand::client {
namespace {

// The share-quantile; gaps are sorted and not empty.
double Quantile(const std::vector<double>& gaps, double share) {
  return gaps[static_cast<size_t>(share * static_cast<double>(gaps.size() - 1) + 0.5)];
}

boost::json::object Summary(std::vector<double> gaps) {
  std::sort(gaps.begin(), gaps.end());
  const auto at = [&](double share) {
    return gaps.empty() ? boost::json::value() : boost::json::value(Quantile(gaps, share));
  };
  return {{"count", gaps.size()}, {"p50", at(0.5)}, {"p99", at(0.99)}, {"max", at(1)}};
}

std::string Line(const char* what, int count, std::vector<double> gaps) {
  if (count == 0) return "";
  const std::string counted = fmt::format("{:<20} {:>6}", what, count);
  if (gaps.empty()) return counted + "\n";
  std::sort(gaps.begin(), gaps.end());
  return fmt::format("{}   next token after {:.2f} s (median), {:.2f} s (p99)\n", counted,
                     Quantile(gaps, 0.5), Quantile(gaps, 0.99));
}

}  // namespace

std::string ChaosReport::ToJson() const {
  boost::json::array all_faults;
  for (const std::string& fault : faults) all_faults.emplace_back(fault);
  return boost::json::serialize(boost::json::object{
      {"seed", config.seed},
      {"streams", config.num_streams},
      {"worker_kills", num_worker_kills},
      {"coordinator_kills", num_coordinator_kills},
      {"worker_stops", num_worker_stops},
      {"replaced", num_replaced},
      {"answers", num_answers},
      {"tokens", num_tokens},
      {"faults", all_faults},
      {"seconds_to_next_token", boost::json::object{{"worker", Summary(worker_gaps_s)},
                                                    {"coordinator", Summary(coordinator_gaps_s)},
                                                    {"worker_stopped", Summary(stop_gaps_s)}}}});
}

std::string ChaosReport::ToText() const {
  std::string text = Line("workers killed", num_worker_kills, worker_gaps_s) +
                     Line("coordinators killed", num_coordinator_kills, coordinator_gaps_s) +
                     Line("workers stopped", num_worker_stops, stop_gaps_s);
  text += fmt::format("{:<20} {:>6}   with {} tokens, compared event by event\n", "answers",
                      num_answers, num_tokens);
  if (faults.empty()) return text + "nothing was lost, doubled or changed\n";
  for (const std::string& fault : faults) text += "FAULT: " + fault + "\n";
  return text;
}

}  // namespace longhand::client
