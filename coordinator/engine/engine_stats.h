// EngineStats: a snapshot for GetStatus and the status page.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "coordinator/engine/config.h"

namespace longhand::engine {

struct EngineStats {
  bool group_up = false;
  bool draining = false;
  int64_t epoch = 0;                // of the latest group; 0: none yet
  GroupShape shape;                 // of the group that is up
  int64_t num_running = 0;          // answers admitted
  int64_t num_waiting = 0;          // answers in the queue, preempted ones included
  int64_t num_preempted = 0;        // answers that ran, and wait for their place again
  int64_t num_tenants = 0;          // with answers that wait or run
  int64_t num_free_blocks = 0;      // promised ones included
  int64_t num_reserved_blocks = 0;  // promised and not yet taken
  int64_t num_free_host_blocks = 0;
  int64_t num_steps = 0;  // of this epoch, that came back
  int64_t num_steps_in_flight = 0;
  int64_t num_prompt_tokens = 0;       // computed, since start
  int64_t num_generated_tokens = 0;    // delivered, since start
  int64_t num_preemptions = 0;         // since start
  int64_t num_swapped_out_blocks = 0;  // KV blocks that went to host memory, since start
  int64_t num_swapped_in_blocks = 0;   // and that came back
  // Of requests that run, and that wait; only where it was asked for (Engine::GetStats).
  std::set<std::string> running_adapters, waiting_adapters;
  // Zero while nothing is due. While answers run: since the latest token. While steps are in
  // flight: since the latest one came back; this is what health looks at.
  Duration last_token_age{};
  Duration last_step_age{};
};

// Of all engines together: ages are the longest, tenants as many as one has at least, the rest adds
// up; the epoch, too, so that it rises with each.
EngineStats Sum(const std::vector<EngineStats>& engines);

}  // namespace longhand::engine
