#include "coordinator/engine/engine_metrics.h"

#include "common/length_score.h"

namespace longhand::engine {
namespace {

Counter& Ended(Metrics& metrics, const char* reason) {
  return metrics.GetCounter("longhand_requests_ended_early_total", {{"reason", reason}});
}

Counter& Finished(Metrics& metrics, const char* reason) {
  return metrics.GetCounter("longhand_answers_finished_total", {{"finish_reason", reason}});
}

Counter& Resumed(Metrics& metrics, const char* cause) {
  return metrics.GetCounter("longhand_stream_resumes_total", {{"cause", cause}});
}

Counter& Swapped(Metrics& metrics, const char* direction) {
  return metrics.GetCounter("longhand_kv_blocks_swapped_total", {{"direction", direction}});
}

void ObserveIf(const std::optional<Duration>& duration, Histogram& histogram) {
  if (duration.has_value()) histogram.Observe(Seconds(*duration));
}

}  // namespace

EngineMetrics::EngineMetrics(Metrics& metrics)
    : requests_running(metrics.GetGauge("longhand_requests_running")),
      requests_waiting(metrics.GetGauge("longhand_requests_waiting")),
      requests_preempted(metrics.GetGauge("longhand_requests_preempted")),
      queue_tenants(metrics.GetGauge("longhand_queue_tenants")),
      kv_blocks(metrics.GetGauge("longhand_kv_blocks")),
      kv_blocks_free(metrics.GetGauge("longhand_kv_blocks_free")),
      kv_blocks_promised(metrics.GetGauge("longhand_kv_blocks_promised")),
      kv_cache_usage_ratio(metrics.GetGauge("longhand_kv_cache_usage_ratio")),
      group_up(metrics.GetGauge("longhand_worker_group_up")),
      group_epoch(metrics.GetGauge("longhand_worker_group_epoch")),
      last_token_age_seconds(metrics.GetGauge("longhand_last_token_age_seconds")),
      steps(metrics.GetCounter("longhand_steps_total")),
      prompt_tokens(metrics.GetCounter("longhand_prompt_tokens_total")),
      generation_tokens(metrics.GetCounter("longhand_generation_tokens_total")),
      surplus_tokens(metrics.GetCounter("longhand_surplus_tokens_total")),
      words(metrics.GetCounter("longhand_words_total")),
      images_encoded(metrics.GetCounter("longhand_images_encoded_total")),
      image_cache_queries(metrics.GetCounter("longhand_image_cache_queries_total")),
      image_cache_hits(metrics.GetCounter("longhand_image_cache_hits_total")),
      prefix_cache_queries(metrics.GetCounter("longhand_prefix_cache_queries_total")),
      prefix_cache_hits(metrics.GetCounter("longhand_prefix_cache_hits_total")),
      preemptions(metrics.GetCounter("longhand_preemptions_total")),
      preempted_tokens(metrics.GetCounter("longhand_preempted_tokens_total")),
      kv_blocks_swapped_out(Swapped(metrics, "out")),
      kv_blocks_swapped_in(Swapped(metrics, "in")),
      resumed_after_group(Resumed(metrics, "worker_group_lost")),
      resumed_after_coordinator(Resumed(metrics, "coordinator_restart")),
      requests_moved(metrics.GetCounter("longhand_requests_moved_total")),
      tokens_replayed(metrics.GetCounter("longhand_tokens_replayed_total")),
      finished_stop(Finished(metrics, "stop")),
      finished_length(Finished(metrics, "length")),
      ended_cancelled(Ended(metrics, "cancelled")),
      ended_deadline(Ended(metrics, "deadline_exceeded")),
      ended_unavailable(Ended(metrics, "unavailable")),
      ended_exhausted(Ended(metrics, "resource_exhausted")),
      ended_refused(Ended(metrics, "refused")),
      requests_constrained(metrics.GetCounter("longhand_constrained_requests_total")),
      token_mask_seconds(metrics.GetHistogram("longhand_token_mask_seconds")),
      step_tokens(metrics.GetHistogram("longhand_step_tokens")),
      step_execute_seconds(metrics.GetHistogram("longhand_step_execute_seconds")),
      request_queue_seconds(metrics.GetHistogram("longhand_request_queue_seconds")),
      time_to_first_token_seconds(metrics.GetHistogram("longhand_time_to_first_token_seconds")),
      inter_token_latency_seconds(metrics.GetHistogram("longhand_inter_token_latency_seconds")),
      failover_seconds(metrics.GetHistogram("longhand_failover_seconds")),
      words_actual(metrics.GetHistogram("longhand_words_actual")),
      words_target(metrics.GetHistogram("longhand_words_target")),
      words_toward_targets(metrics.GetCounter("longhand_words_toward_targets_total")),
      length_score(metrics.GetHistogram("longhand_length_score")),
      repetitions_redirected(
          metrics.GetCounter("longhand_repetition_events_total", {{"action", "redirected"}})),
      repetitions_ended(
          metrics.GetCounter("longhand_repetition_events_total", {{"action", "ended"}})),
      request_max_tokens(metrics.GetHistogram("longhand_request_max_tokens")),
      request_choices(metrics.GetHistogram("longhand_request_choices")),
      request_prompt_tokens(metrics.GetHistogram("longhand_request_prompt_tokens")),
      request_generation_tokens(metrics.GetHistogram("longhand_request_generation_tokens")),
      request_prefill_seconds(metrics.GetHistogram("longhand_request_prefill_seconds")),
      request_decode_seconds(metrics.GetHistogram("longhand_request_decode_seconds")),
      request_inference_seconds(metrics.GetHistogram("longhand_request_inference_seconds")),
      time_per_output_token_seconds(metrics.GetHistogram("longhand_time_per_output_token_seconds")),
      request_duration_seconds(metrics.GetHistogram("longhand_request_duration_seconds")) {}

void EngineMetrics::CountFinish(FinishReason reason) {
  (reason == FinishReason::kStop ? finished_stop : finished_length).Increment();
}

void EngineMetrics::CountError(const Status& status) {
  switch (status.code()) {
    case StatusCode::kCancelled:
      return ended_cancelled.Increment();
    case StatusCode::kDeadlineExceeded:
      return ended_deadline.Increment();
    case StatusCode::kUnavailable:
      return ended_unavailable.Increment();
    case StatusCode::kResourceExhausted:
      return ended_exhausted.Increment();
    default:
      return ended_refused.Increment();
  }
}

void EngineMetrics::ObserveLength(int64_t words, int64_t target_words) {
  words_actual.Observe(static_cast<double>(words));
  if (target_words == 0) return;
  words_target.Observe(static_cast<double>(target_words));
  words_toward_targets.Increment(static_cast<double>(words));
  length_score.Observe(LengthScore(words, target_words));
}

void EngineMetrics::ObserveRequest(const Request& request) {
  if (request.constraint != nullptr) requests_constrained.Increment();
  request_max_tokens.Observe(static_cast<double>(request.max_tokens));
  request_choices.Observe(request.num_choices);
  request_prompt_tokens.Observe(static_cast<double>(request.num_prompt_tokens()));
}

void EngineMetrics::ObserveEnd(const RequestSummary& summary) {
  request_generation_tokens.Observe(static_cast<double>(summary.num_tokens));
  request_duration_seconds.Observe(Seconds(summary.duration));
  ObserveIf(summary.prefill_time, request_prefill_seconds);
  ObserveIf(summary.decode_time, request_decode_seconds);
  ObserveIf(summary.time_per_output_token, time_per_output_token_seconds);
  if (summary.prefill_time.has_value() && summary.decode_time.has_value())
    request_inference_seconds.Observe(Seconds(*summary.prefill_time + *summary.decode_time));
}

void EngineMetrics::SetGauges(const EngineStats& stats) {
  const double num_blocks = static_cast<double>(stats.shape.num_blocks);
  const double num_free_blocks = static_cast<double>(stats.num_free_blocks);
  requests_running.Set(static_cast<double>(stats.num_running));
  requests_waiting.Set(static_cast<double>(stats.num_waiting));
  requests_preempted.Set(static_cast<double>(stats.num_preempted));
  queue_tenants.Set(static_cast<double>(stats.num_tenants));
  kv_blocks.Set(num_blocks);
  kv_blocks_free.Set(num_free_blocks);
  kv_blocks_promised.Set(static_cast<double>(stats.num_reserved_blocks));
  kv_cache_usage_ratio.Set(num_blocks > 0 ? 1 - num_free_blocks / num_blocks : 0);
  group_up.Set(stats.group_up ? 1 : 0);
  group_epoch.Set(static_cast<double>(stats.epoch));
  last_token_age_seconds.Set(Seconds(stats.last_token_age));
}

}  // namespace longhand::engine
