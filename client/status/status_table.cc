#include "client/status/status_table.h"

#include <fmt/format.h>

#include "client/status/state_name.h"

namespace longhand::client {

std::string StatusTable(const v1::GetStatusResponse& s) {
  std::string out =
      fmt::format("{}: {}{}{}\n", s.model(), StateName(s.state()), s.draining() ? ", draining" : "",
                  s.detail().empty() ? "" : " (" + s.detail() + ")");
  out += fmt::format("  {} {}, {}TP {}, context {}, epoch {}, up {} s\n", s.version(), s.dtype(),
                     NumGroups(s), s.tensor_parallel_size(), s.max_model_len(), s.epoch(),
                     s.uptime_ms() / 1000);
  out += fmt::format(
      "  requests: {} running, {} waiting, {} of them preempted; {} tokens made, {} steps in this "
      "epoch\n",
      s.running_requests(), s.waiting_requests(), s.preempted_requests(), s.generated_tokens(),
      s.steps());
  out += fmt::format(
      "  KV blocks: {} of {} free, {} of these promised, {} tokens each; {} preemptions\n",
      s.kv_blocks_free(), s.kv_blocks_total(), s.kv_blocks_promised(), s.block_size(),
      s.preemptions());
  if (s.max_loras() > 0) {
    out += fmt::format("  adapters: {} of {} loaded\n", s.adapters_size(), s.max_loras());
    for (const v1::AdapterStatus& adapter : s.adapters())
      out += fmt::format("    {}: {}\n", adapter.name(), adapter.directory());
  }
  if (s.groups_size() > 1) {
    for (const v1::GroupStatus& group : s.groups()) {
      out += fmt::format(
          "  group {}: {}{}, epoch {}; {} running, {} waiting; {} tokens made; {} of {} KV blocks "
          "free\n",
          group.group(), group.phase(), group.detail().empty() ? "" : " (" + group.detail() + ")",
          group.epoch(), group.running_requests(), group.waiting_requests(),
          group.generated_tokens(), group.kv_blocks_free(), group.kv_blocks_total());
    }
  }
  out +=
      fmt::format("{:>4}  {:<10}  {:>5}  {:>9}  {:>9}  {:>9}  {:>11}  {:>9}  {}\n", "rank", "state",
                  "load", "step", "step ms", "wait ms", "weights MiB", "KV MiB", "device, address");
  for (const v1::RankStatus& rank : s.ranks()) {
    out += fmt::format(
        "{:>4}  {:<10}  {:>4.0f}%  {:>9}  {:>9.2f}  {:>9.2f}  {:>11.1f}  {:>9.1f}  {}, {}\n",
        RankName(s, rank), StateName(rank.state()), rank.load_progress() * 100, rank.step(),
        static_cast<double>(rank.execute_us()) / 1e3,
        static_cast<double>(rank.communicate_us()) / 1e3,
        static_cast<double>(rank.weight_bytes()) / (1 << 20),
        static_cast<double>(rank.kv_cache_bytes()) / (1 << 20), rank.device(), rank.address());
  }
  return out;
}

}  // namespace longhand::client
