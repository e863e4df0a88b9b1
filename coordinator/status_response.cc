#include "coordinator/status_response.h"

#include <algorithm>

#include "common/duration.h"
#include "common/version.h"

namespace longhand {
namespace {

v1::GroupState ToWire(cluster::GroupState state) {
  switch (state) {
    case cluster::GroupState::kConnecting:
      return v1::GROUP_STATE_CONNECTING;
    case cluster::GroupState::kLoading:
    case cluster::GroupState::kWarmingUp:
      return v1::GROUP_STATE_LOADING;
    case cluster::GroupState::kReady:
      return v1::GROUP_STATE_READY;
    case cluster::GroupState::kFailed:
      return v1::GROUP_STATE_FAILED;
  }
  return v1::GROUP_STATE_UNSPECIFIED;
}

void SetRank(const cluster::RankStatus& from, int32_t group, int32_t rank, v1::RankStatus* to) {
  to->set_group(group);
  to->set_rank(rank);
  to->set_address(from.address);
  to->set_state(ToWire(from.state));
  to->set_load_progress(from.load_progress);
  to->set_step(from.step);
  to->set_execute_us(from.execute_us);
  to->set_communicate_us(from.communicate_us);
  to->set_weight_bytes(from.weight_bytes);
  to->set_kv_cache_bytes(from.kv_cache_bytes);
  to->set_device(from.device);
  to->set_heartbeat_age_ms(Milliseconds(from.silent_for));
  to->set_progress_age_ms(Milliseconds(from.still_for));
}

void SetGroup(const GroupView& from, int32_t group, v1::GroupStatus* to) {
  to->set_group(group);
  to->set_state(ToWire(from.status.state));
  to->set_detail(from.status.detail.empty() ? from.readiness.detail : from.status.detail);
  to->set_epoch(from.status.epoch);
  to->set_ready(from.readiness.ready);
  to->set_phase(from.readiness.phase);
  to->set_running_requests(from.engine.num_running);
  to->set_waiting_requests(from.engine.num_waiting);
  to->set_kv_blocks_total(from.engine.shape.num_blocks);
  to->set_kv_blocks_free(from.engine.num_free_blocks);
  to->set_kv_blocks_promised(from.engine.num_reserved_blocks);
  to->set_steps(from.engine.num_steps);
  to->set_generated_tokens(from.engine.num_generated_tokens);
  to->set_last_token_age_ms(Milliseconds(from.engine.last_token_age));
  to->set_spare_workers(from.status.num_spares);
  to->set_spare_workers_ready(from.status.num_spares_ready);
}

// A group that can make tokens, if there is one.
const cluster::GroupStatus& Best(const std::vector<GroupView>& groups) {
  for (const GroupView& group : groups) {
    if (group.status.state == cluster::GroupState::kReady) return group.status;
  }
  return groups[0].status;
}

}  // namespace

v1::GetStatusResponse MakeStatusResponse(const std::vector<GroupView>& groups,
                                         const cluster::Readiness& readiness) {
  std::vector<engine::EngineStats> engines;
  for (const GroupView& group : groups) engines.push_back(group.engine);
  const engine::EngineStats engine = engine::Sum(engines);
  const cluster::GroupStatus& best = Best(groups);
  v1::GetStatusResponse out;
  out.set_version(kVersion);
  out.set_state(ToWire(best.state));
  out.set_detail(groups.size() == 1 && !best.detail.empty() ? best.detail : readiness.detail);
  out.set_tensor_parallel_size(static_cast<int32_t>(best.ranks.size()));
  out.set_dtype(std::string(DTypeName(best.capacity.dtype)));
  out.set_running_requests(engine.num_running);
  out.set_waiting_requests(engine.num_waiting);
  out.set_kv_blocks_total(engine.shape.num_blocks);
  out.set_preempted_requests(engine.num_preempted);
  out.set_preemptions(engine.num_preemptions);
  out.set_kv_blocks_free(engine.num_free_blocks);
  out.set_kv_blocks_promised(engine.num_reserved_blocks);
  out.set_kv_host_blocks_total(engine.shape.num_host_blocks);
  out.set_kv_host_blocks_free(engine.num_free_host_blocks);
  out.set_kv_blocks_swapped_out(engine.num_swapped_out_blocks);
  out.set_kv_blocks_swapped_in(engine.num_swapped_in_blocks);
  out.set_block_size(engine.shape.block_size);
  out.set_steps(engine.num_steps);
  out.set_generated_tokens(engine.num_generated_tokens);
  out.set_draining(engine.draining);
  out.set_ready(readiness.ready);
  out.set_phase(readiness.phase);
  out.set_percent(static_cast<float>(readiness.percent));
  out.set_last_token_age_ms(Milliseconds(engine.last_token_age));
  int64_t epoch = 0;
  int64_t max_model_len = 0;
  int32_t num_spares = 0, num_spares_ready = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const cluster::GroupStatus& status = groups[g].status;
    epoch += status.epoch;
    const int64_t planned = status.capacity.max_model_len;
    if (planned > 0) max_model_len = max_model_len > 0 ? std::min(max_model_len, planned) : planned;
    num_spares += status.num_spares;
    num_spares_ready += status.num_spares_ready;
    SetGroup(groups[g], static_cast<int32_t>(g), out.add_groups());
    int32_t rank = 0;
    for (const cluster::RankStatus& each : status.ranks)
      SetRank(each, static_cast<int32_t>(g), rank++, out.add_ranks());
  }
  out.set_epoch(epoch);
  out.set_max_model_len(max_model_len);
  out.set_spare_workers(num_spares);
  out.set_spare_workers_ready(num_spares_ready);
  return out;
}

}  // namespace longhand
