#include "coordinator/engine/engine_metrics.h"

#include <vector>

namespace longhand::engine {
namespace {

// 1, 2, 5, 10, ... times `unit`, up to `max`.
std::vector<double> Buckets(double unit, double max) {
  std::vector<double> bounds;
  for (double decade = unit; decade <= max; decade *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (decade * step <= max) bounds.push_back(decade * step);
    }
  }
  return bounds;
}

Counter& Ended(Metrics& metrics, const char* reason) {
  return metrics.GetCounter("longhand_requests_ended_early_total",
                            "Requests refused or ended before their answer was",
                            {{"reason", reason}});
}

Counter& Finished(Metrics& metrics, const char* reason) {
  return metrics.GetCounter("longhand_answers_finished_total", "Answers that came to their end",
                            {{"finish_reason", reason}});
}

}  // namespace

EngineMetrics::EngineMetrics(Metrics& metrics)
    : requests_running(
          metrics.GetGauge("longhand_requests_running", "Answers admitted and not finished")),
      requests_waiting(metrics.GetGauge("longhand_requests_waiting", "Answers in the queue")),
      requests_preempted(metrics.GetGauge("longhand_requests_preempted",
                                          "Answers that ran and wait for their place again")),
      queue_tenants(
          metrics.GetGauge("longhand_queue_tenants", "Tenants with answers that wait or run")),
      kv_blocks(metrics.GetGauge("longhand_kv_blocks", "KV blocks of the group that is up")),
      kv_blocks_free(
          metrics.GetGauge("longhand_kv_blocks_free", "KV blocks that no sequence holds")),
      kv_blocks_promised(metrics.GetGauge("longhand_kv_blocks_promised",
                                          "KV blocks promised to answers and not yet taken")),
      kv_cache_usage_ratio(
          metrics.GetGauge("longhand_kv_cache_usage_ratio", "Share of KV blocks held, 0 to 1")),
      group_up(
          metrics.GetGauge("longhand_worker_group_up", "1 while a worker group can run steps")),
      group_epoch(
          metrics.GetGauge("longhand_worker_group_epoch", "Epoch of the latest worker group")),
      last_token_age_seconds(metrics.GetGauge("longhand_last_token_age_seconds",
                                              "Since the latest token while answers run, else 0")),
      steps(metrics.GetCounter("longhand_steps_total", "Steps that came back")),
      prompt_tokens(metrics.GetCounter("longhand_prompt_tokens_total", "Prompt tokens prefilled")),
      generation_tokens(metrics.GetCounter("longhand_generation_tokens_total", "Tokens delivered")),
      surplus_tokens(
          metrics.GetCounter("longhand_surplus_tokens_total",
                             "Tokens sampled ahead after an answer had ended, and dropped")),
      images_encoded(
          metrics.GetCounter("longhand_images_encoded_total", "Images that the ViT has encoded")),
      prefix_cache_queries(metrics.GetCounter("longhand_prefix_cache_queries_total",
                                              "Tokens that the prefix cache was asked for")),
      prefix_cache_hits(metrics.GetCounter("longhand_prefix_cache_hits_total",
                                           "Of these, tokens that it had in KV")),
      preemptions(metrics.GetCounter("longhand_preemptions_total",
                                     "Answers that lost their KV blocks to older ones")),
      preempted_tokens(
          metrics.GetCounter("longhand_preempted_tokens_total",
                             "Tokens in KV blocks of preempted answers: computed again")),
      group_losses(metrics.GetCounter("longhand_worker_group_losses_total",
                                      "Worker groups that were up and were lost")),
      streams_resumed(metrics.GetCounter("longhand_streams_resumed_total",
                                         "Requests that went on with a new worker group")),
      finished_stop(Finished(metrics, "stop")),
      finished_length(Finished(metrics, "length")),
      ended_cancelled(Ended(metrics, "cancelled")),
      ended_deadline(Ended(metrics, "deadline_exceeded")),
      ended_unavailable(Ended(metrics, "unavailable")),
      ended_exhausted(Ended(metrics, "resource_exhausted")),
      ended_refused(Ended(metrics, "refused")),
      step_tokens(
          metrics.GetHistogram("longhand_step_tokens", "Tokens of one step", Buckets(1, 20000))),
      step_execute_seconds(metrics.GetHistogram(
          "longhand_step_execute_seconds", "Wall time of a step on rank 0", Buckets(1e-4, 50))),
      request_queue_seconds(metrics.GetHistogram("longhand_request_queue_seconds",
                                                 "From submission to admission of an answer",
                                                 Buckets(1e-3, 1000))),
      time_to_first_token_seconds(metrics.GetHistogram("longhand_time_to_first_token_seconds",
                                                       "From submission to the first token",
                                                       Buckets(1e-3, 1000))),
      inter_token_latency_seconds(metrics.GetHistogram("longhand_inter_token_latency_seconds",
                                                       "Between tokens of an answer",
                                                       Buckets(1e-4, 50))),
      request_duration_seconds(metrics.GetHistogram("longhand_request_duration_seconds",
                                                    "From submission to the end",
                                                    Buckets(1e-2, 10000))) {}

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
