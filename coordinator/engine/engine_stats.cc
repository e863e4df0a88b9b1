#include "coordinator/engine/engine_stats.h"

#include <algorithm>

namespace longhand::engine {

EngineStats Sum(const std::vector<EngineStats>& engines) {
  EngineStats sum;
  for (const EngineStats& each : engines) {
    if (each.group_up && !sum.group_up) {
      sum.shape = each.shape;
      sum.shape.num_blocks = sum.shape.num_host_blocks = 0;
    }
    sum.group_up |= each.group_up;
    sum.draining |= each.draining;
    sum.epoch += each.epoch;
    sum.shape.num_blocks += each.shape.num_blocks;
    sum.shape.num_host_blocks += each.shape.num_host_blocks;
    sum.num_running += each.num_running;
    sum.num_waiting += each.num_waiting;
    sum.num_preempted += each.num_preempted;
    sum.num_tenants = std::max(sum.num_tenants, each.num_tenants);
    sum.num_free_blocks += each.num_free_blocks;
    sum.num_reserved_blocks += each.num_reserved_blocks;
    sum.num_free_host_blocks += each.num_free_host_blocks;
    sum.num_steps += each.num_steps;
    sum.num_steps_in_flight += each.num_steps_in_flight;
    sum.num_prompt_tokens += each.num_prompt_tokens;
    sum.num_generated_tokens += each.num_generated_tokens;
    sum.num_preemptions += each.num_preemptions;
    sum.num_swapped_out_blocks += each.num_swapped_out_blocks;
    sum.num_swapped_in_blocks += each.num_swapped_in_blocks;
    sum.running_adapters.insert(each.running_adapters.begin(), each.running_adapters.end());
    sum.waiting_adapters.insert(each.waiting_adapters.begin(), each.waiting_adapters.end());
    sum.last_token_age = std::max(sum.last_token_age, each.last_token_age);
    sum.last_step_age = std::max(sum.last_step_age, each.last_step_age);
  }
  return sum;
}

}  // namespace longhand::engine
