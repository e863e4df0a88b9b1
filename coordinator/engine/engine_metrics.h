// EngineMetrics: the engine's families under longhand_*, as common/prometheus/metric_table.h
// declares them.
#pragma once

#include "common/duration.h"
#include "common/metrics.h"
#include "common/status.h"
#include "coordinator/engine/engine_stats.h"
#include "coordinator/engine/request_summary.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

struct EngineMetrics {
  explicit EngineMetrics(Metrics& metrics);

  // A request that was taken.
  void ObserveRequest(const Request& request);
  void ObserveEnd(const RequestSummary& summary);
  void CountFinish(FinishReason reason);
  // Of an answer that came to its end; `target_words` 0: without a target.
  void ObserveLength(int64_t words, int64_t target_words);
  // A request that ended early, or was refused.
  void CountError(const Status& status);
  void SetGauges(const EngineStats& stats);

  Gauge& requests_running;
  Gauge& requests_waiting;
  Gauge& requests_preempted;
  Gauge& queue_tenants;
  Gauge& kv_blocks;
  Gauge& kv_blocks_free;
  Gauge& kv_blocks_promised;
  Gauge& kv_cache_usage_ratio;
  Gauge& group_up;
  Gauge& group_epoch;
  Gauge& last_token_age_seconds;
  Counter& steps;
  Counter& prompt_tokens;
  Counter& generation_tokens;
  Counter& surplus_tokens;
  Counter& words;
  Counter& images_encoded;
  Counter& image_cache_queries;
  Counter& image_cache_hits;
  Counter& prefix_cache_queries;
  Counter& prefix_cache_hits;
  Counter& preemptions;
  Counter& preempted_tokens;
  Counter& kv_blocks_swapped_out;
  Counter& kv_blocks_swapped_in;
  Counter& resumed_after_group;
  Counter& resumed_after_coordinator;
  Counter& requests_moved;
  Counter& tokens_replayed;
  Counter& finished_stop;
  Counter& finished_length;
  Counter& ended_cancelled;
  Counter& ended_deadline;
  Counter& ended_unavailable;
  Counter& ended_exhausted;
  Counter& ended_refused;
  Counter& requests_constrained;
  Histogram& token_mask_seconds;
  Histogram& step_tokens;
  Histogram& step_execute_seconds;
  Histogram& request_queue_seconds;
  Histogram& time_to_first_token_seconds;
  Histogram& inter_token_latency_seconds;
  Histogram& failover_seconds;
  Histogram& words_actual;
  Histogram& words_target;
  Counter& words_toward_targets;
  Histogram& length_score;
  Counter& repetitions_redirected;
  Counter& repetitions_ended;
  Histogram& request_max_tokens;
  Histogram& request_choices;
  Histogram& request_prompt_tokens;
  Histogram& request_generation_tokens;
  Histogram& request_prefill_seconds;
  Histogram& request_decode_seconds;
  Histogram& request_inference_seconds;
  Histogram& time_per_output_token_seconds;
  Histogram& request_duration_seconds;
};

}  // namespace longhand::engine
