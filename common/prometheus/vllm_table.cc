#include <utility>

#include "common/prometheus/buckets.h"
#include "common/prometheus/metric_table.h"

namespace longhand {
namespace {

using enum MetricType;
using Table = std::vector<MetricAlias>;

MetricAlias Gauge(const char* name, const char* source, const char* help) {
  return {{name, kGauge, "", help}, source};
}
MetricAlias Counter(const char* name, const char* source, const char* help) {
  return {{name, kCounter, "", help}, source};
}
MetricAlias Seconds(const char* name,
                    const char* source,
                    std::vector<double> bounds,
                    const char* help) {
  return {{name, kHistogram, "seconds", help, {}, std::move(bounds)}, source};
}
MetricAlias Count(const char* name,
                  const char* source,
                  std::vector<double> bounds,
                  const char* help) {
  return {{name, kHistogram, "", help, {}, std::move(bounds)}, source};
}
// What vLLM has and Longhand has not: a dashboard's panel stays empty, and no query fails.
MetricAlias None(const char* name,
                 MetricType type,
                 std::vector<MetricLabel> labels,
                 const char* help) {
  return {{name, type, "", help, std::move(labels)}, ""};
}

Table Make() {
  const auto request = buckets::VllmRequest();
  const auto tokens = buckets::Tokens();
  const std::vector<MetricLabel> adapters = {
      {"max_lora", {}, ""}, {"running_lora_adapters", {}, ""}, {"waiting_lora_adapters", {}, ""}};
  return {
      Gauge("vllm:num_requests_running", "longhand_requests_running", "Requests that run."),
      Gauge("vllm:num_requests_waiting", "longhand_requests_waiting", "Requests that wait."),
      Gauge("vllm:kv_cache_usage_perc", "longhand_kv_cache_usage_ratio",
            "KV cache in use, 0 to 1."),
      Gauge("vllm:gpu_cache_usage_perc", "longhand_kv_cache_usage_ratio",
            "Older name of vllm:kv_cache_usage_perc."),
      {{"vllm:cache_config_info",
        kGauge,
        "1",
        "1 for the KV cache's configuration.",
        {{"block_size", {}, ""}, {"num_gpu_blocks", {}, ""}, {"cache_dtype", {}, ""}}},
       "longhand_kv_cache_config_info",
       {{"num_blocks", "num_gpu_blocks"}, {"dtype", "cache_dtype"}}},
      None("vllm:engine_sleep_state", kGauge, {{"sleep_state", {}, ""}}, "There is no sleep."),
      {{"vllm:lora_requests_info", kGauge, "", "The time, and the adapters of requests.", adapters},
       "longhand_adapter_requests_info"},
      Counter("vllm:num_preemptions_total", "longhand_preemptions_total", "Preemptions."),
      Counter("vllm:prompt_tokens_total", "longhand_prompt_tokens_total", "Prompt tokens."),
      None("vllm:prompt_tokens_by_source_total", kCounter, {{"source", {}, ""}},
           "Prompt tokens by source: not told apart."),
      Counter("vllm:prompt_tokens_cached_total", "longhand_prefix_cache_hits_total",
              "Prompt tokens that were cached."),
      None("vllm:prompt_tokens_recomputed_total", kCounter, {},
           "Cached tokens that were computed again: none."),
      Counter("vllm:generation_tokens_total", "longhand_generation_tokens_total",
              "Generated tokens."),
      {{"vllm:request_success_total",
        kCounter,
        "",
        "Answers that came to their end.",
        {{"finished_reason", {"stop", "length"}}}},
       "longhand_answers_finished_total",
       {{"finish_reason", "finished_reason"}}},
      Counter("vllm:prefix_cache_queries_total", "longhand_prefix_cache_queries_total",
              "Tokens asked of the prefix cache."),
      Counter("vllm:prefix_cache_hits_total", "longhand_prefix_cache_hits_total",
              "Tokens that the prefix cache had."),
      None("vllm:external_prefix_cache_queries_total", kCounter, {},
           "There is no external prefix cache."),
      None("vllm:external_prefix_cache_hits_total", kCounter, {},
           "There is no external prefix cache."),
      Counter("vllm:mm_cache_queries_total", "longhand_image_cache_queries_total",
              "Images asked of the encoder cache."),
      Counter("vllm:mm_cache_hits_total", "longhand_image_cache_hits_total",
              "Images that the encoder cache had."),
      None("vllm:corrupted_requests_total", kCounter, {}, "Requests with NaN logits: not counted."),
      Count("vllm:request_prompt_tokens", "longhand_request_prompt_tokens", tokens,
            "Prompt tokens of a request."),
      Count("vllm:request_generation_tokens", "longhand_request_generation_tokens", tokens,
            "Generated tokens of a request."),
      Count("vllm:request_max_num_generation_tokens", "longhand_request_generation_tokens", tokens,
            "Most generated tokens of a request."),
      Count("vllm:request_params_max_tokens", "longhand_request_max_tokens", tokens,
            "max_tokens of a request."),
      Count("vllm:request_params_n", "longhand_request_choices", {1, 2, 5, 10, 20},
            "n of a request."),
      Count("vllm:iteration_tokens_total", "longhand_step_tokens", buckets::VllmStepTokens(),
            "Tokens of a step."),
      None("vllm:request_prefill_kv_computed_tokens", kHistogram, {},
           "Tokens that a prefill computed: not told apart."),
      Seconds("vllm:time_to_first_token_seconds", "longhand_time_to_first_token_seconds",
              buckets::VllmFirstToken(), "Time to the first token."),
      Seconds("vllm:inter_token_latency_seconds", "longhand_inter_token_latency_seconds",
              buckets::VllmBetweenTokens(), "Time between tokens."),
      Seconds("vllm:time_per_output_token_seconds", "longhand_inter_token_latency_seconds",
              buckets::VllmBetweenTokens(), "Older name of vllm:inter_token_latency_seconds."),
      Seconds("vllm:request_time_per_output_token_seconds",
              "longhand_time_per_output_token_seconds", buckets::VllmBetweenTokens(),
              "Time per output token of a request."),
      Seconds("vllm:e2e_request_latency_seconds", "longhand_request_duration_seconds", request,
              "Duration of a request."),
      Seconds("vllm:request_queue_time_seconds", "longhand_request_queue_seconds", request,
              "Time in the queue."),
      Seconds("vllm:request_prefill_time_seconds", "longhand_request_prefill_seconds", request,
              "Time of the prefill."),
      Seconds("vllm:request_decode_time_seconds", "longhand_request_decode_seconds", request,
              "Time of the decode."),
      Seconds("vllm:request_inference_time_seconds", "longhand_request_inference_seconds", request,
              "Time of both."),
      None("vllm:kv_block_lifetime_seconds", kHistogram, {}, "Life of a KV block: not measured."),
      None("vllm:kv_block_idle_before_evict_seconds", kHistogram, {},
           "Idle time of a KV block: not measured."),
      None("vllm:kv_block_reuse_gap_seconds", kHistogram, {},
           "Time between uses of a KV block: not measured."),
  };
}

}  // namespace

std::span<const MetricAlias> VllmMetricTable() {
  static const Table table = Make();
  return table;
}

}  // namespace longhand
