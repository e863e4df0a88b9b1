#include "client/status/status_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "client/status/state_name.h"

namespace longhand::client {
namespace {

constexpr int kBarWidth = 24;

std::string Age(int64_t ms) { return fmt::format("{:.1f} s", static_cast<double>(ms) / 1e3); }

std::string UpTime(int64_t ms) {
  const int64_t seconds = ms / 1000;
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

double KvShare(const v1::GetStatusResponse& s) {
  if (s.kv_blocks_total() == 0) return 0;
  return 1 - static_cast<double>(s.kv_blocks_free()) / static_cast<double>(s.kv_blocks_total());
}

std::string GroupLine(const v1::GroupStatus& group) {
  return fmt::format(
      "group {}   {}{}, epoch {}; {} running, {} waiting; {} tokens made{}", group.group(),
      group.phase(), group.detail().empty() ? "" : ": " + group.detail(), group.epoch(),
      group.running_requests(), group.waiting_requests(), group.generated_tokens(),
      group.running_requests() > 0 ? ", the last " + Age(group.last_token_age_ms()) + " ago" : "");
}

std::string RankLine(const v1::GetStatusResponse& status, const v1::RankStatus& rank) {
  const bool loads = rank.state() == v1::GROUP_STATE_LOADING;
  return fmt::format(
      "{:>4}  {:<10}  {:>10}  {:>8.2f}  {:>8.2f}  {:>8}  {:>8}  {}", RankName(status, rank),
      loads ? fmt::format("load {:.0f}%", rank.load_progress() * 100) : StateName(rank.state()),
      rank.step(), static_cast<double>(rank.execute_us()) / 1e3,
      static_cast<double>(rank.communicate_us()) / 1e3, Age(rank.heartbeat_age_ms()),
      Age(rank.progress_age_ms()), rank.device());
}

}  // namespace

std::string Bar(double share, int width) {
  const auto filled = static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  return "[" + std::string(filled, '#') + std::string(static_cast<size_t>(width) - filled, '.') +
         "]";
}

void StatusView::Take(const v1::GetStatusResponse& status, double seconds) {
  const bool is_next =
      seconds > 0 && status_.uptime_ms() > 0 && status.uptime_ms() > status_.uptime_ms();
  tokens_per_second_.reset();
  steps_per_second_.reset();
  if (is_next)
    tokens_per_second_ =
        static_cast<double>(status.generated_tokens() - status_.generated_tokens()) / seconds;
  if (is_next && status.epoch() == status_.epoch())
    steps_per_second_ = static_cast<double>(status.steps() - status_.steps()) / seconds;
  status_ = status;
}

std::string StatusView::Rates() const {
  const auto rate = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.1f}", *value) : "-";
  };
  return fmt::format("{} tokens/s, {} steps/s", rate(tokens_per_second_), rate(steps_per_second_));
}

std::vector<std::string> StatusView::Lines() const {
  const v1::GetStatusResponse& s = status_;
  std::vector<std::string> lines = {
      fmt::format("{}  {}{}{}", s.model(), s.phase(), s.draining() ? ", draining" : "",
                  s.detail().empty() ? "" : ": " + s.detail()),
      fmt::format("{} {}, {}TP {}, context {}, epoch {}, up {}", s.version(), s.dtype(),
                  NumGroups(s), s.tensor_parallel_size(), s.max_model_len(), s.epoch(),
                  UpTime(s.uptime_ms())),
      fmt::format("requests  {} running, {} waiting, {} of them preempted; {}",
                  s.running_requests(), s.waiting_requests(), s.preempted_requests(), Rates()),
      fmt::format(
          "tokens    {} made{}", s.generated_tokens(),
          s.running_requests() > 0 ? ", the last " + Age(s.last_token_age_ms()) + " ago" : ""),
      fmt::format("KV        {} {:.1f}% of {} blocks, {} promised", Bar(KvShare(s), kBarWidth),
                  KvShare(s) * 100, s.kv_blocks_total(), s.kv_blocks_promised())};
  if (!s.ready() && s.percent() < 100)
    lines.push_back(
        fmt::format("weights   {} {:.0f}%", Bar(s.percent() / 100.0, kBarWidth), s.percent()));
  if (s.spare_workers() > 0)
    lines.push_back(
        fmt::format("spares    {} of {} ready", s.spare_workers_ready(), s.spare_workers()));
  if (s.max_loras() > 0) {
    std::string names;
    for (const v1::AdapterStatus& adapter : s.adapters()) names += ' ' + adapter.name();
    lines.push_back(
        fmt::format("adapters  {} of {} loaded:{}", s.adapters_size(), s.max_loras(), names));
  }
  if (s.groups_size() > 1) {
    for (const v1::GroupStatus& group : s.groups()) lines.push_back(GroupLine(group));
  }
  lines.push_back(fmt::format("{:>4}  {:<10}  {:>10}  {:>8}  {:>8}  {:>8}  {:>8}  {}", "rank",
                              "state", "step", "step ms", "wait ms", "heard", "turned", "device"));
  for (const v1::RankStatus& rank : s.ranks()) lines.push_back(RankLine(s, rank));
  return lines;
}

std::string StatusView::Line() const {
  const v1::GetStatusResponse& s = status_;
  std::string line =
      fmt::format("{} epoch {} running {} waiting {} KV {:.1f}% tokens {} ({}) last token {} ago",
                  s.phase(), s.epoch(), s.running_requests(), s.waiting_requests(),
                  KvShare(s) * 100, s.generated_tokens(), Rates(), Age(s.last_token_age_ms()));
  for (const v1::RankStatus& rank : s.ranks()) {
    line +=
        fmt::format("; rank {} {} step {} {:.2f} ms", RankName(s, rank), StateName(rank.state()),
                    rank.step(), static_cast<double>(rank.execute_us()) / 1e3);
  }
  return line;
}

}  // namespace longhand::client
