#include "coordinator/status_response.h"

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

void SetRank(const cluster::RankStatus& from, int32_t rank, v1::RankStatus* to) {
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

}  // namespace

v1::GetStatusResponse MakeStatusResponse(const engine::EngineStats& engine,
                                         const cluster::GroupStatus& group,
                                         const cluster::Readiness& readiness) {
  v1::GetStatusResponse out;
  out.set_version(kVersion);
  out.set_state(ToWire(group.state));
  out.set_detail(group.detail);
  out.set_epoch(group.epoch);
  out.set_tensor_parallel_size(static_cast<int32_t>(group.ranks.size()));
  out.set_dtype(std::string(DTypeName(group.capacity.dtype)));
  out.set_max_model_len(group.capacity.max_model_len);
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
  if (out.detail().empty()) out.set_detail(readiness.detail);
  out.set_last_token_age_ms(Milliseconds(engine.last_token_age));
  out.set_spare_workers(group.num_spares);
  out.set_spare_workers_ready(group.num_spares_ready);
  int32_t rank = 0;
  for (const cluster::RankStatus& status : group.ranks) SetRank(status, rank++, out.add_ranks());
  return out;
}

}  // namespace longhand
