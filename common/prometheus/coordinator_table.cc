#include <iterator>

#include "common/prometheus/buckets.h"
#include "common/prometheus/metric_table.h"

namespace longhand {
namespace {

using enum MetricType;
using Table = std::vector<MetricSpec>;

const MetricLabel kRank = {"rank", {}, "0 to --tensor-parallel-size less 1"};

Table Requests() {
  return {
      {"longhand_requests_running", kGauge, "answers", "Answers admitted and not finished."},
      {"longhand_requests_waiting", kGauge, "answers",
       "Answers in the queue, preempted ones among them."},
      {"longhand_requests_preempted", kGauge, "answers",
       "Answers that ran and wait for their place again."},
      {"longhand_queue_tenants", kGauge, "tenants", "Tenants with answers that wait or run."},
      {"longhand_answers_finished_total",
       kCounter,
       "answers",
       "Answers that came to their end.",
       {{"finish_reason", {"stop", "length"}}}},
      {"longhand_requests_ended_early_total",
       kCounter,
       "requests",
       "Requests refused by the engine, or ended before their answer was.",
       {{"reason",
         {"cancelled", "deadline_exceeded", "unavailable", "resource_exhausted", "refused"}}}},
      {"longhand_constrained_requests_total", kCounter, "requests",
       "Requests whose answers are held to a form: a schema, a regular expression, a grammar."},
      {"longhand_token_mask_seconds",
       kHistogram,
       "seconds",
       "To find what the next token of such an answer may be; other answers wait meanwhile.",
       {},
       buckets::TokenMask()},
      {"longhand_request_queue_seconds",
       kHistogram,
       "seconds",
       "From submission to the first admission.",
       {},
       buckets::Request()},
      {"longhand_time_to_first_token_seconds",
       kHistogram,
       "seconds",
       "From submission to the first token.",
       {},
       buckets::FirstToken()},
      {"longhand_inter_token_latency_seconds",
       kHistogram,
       "seconds",
       "Between two tokens of an answer.",
       {},
       buckets::BetweenTokens()},
      {"longhand_time_per_output_token_seconds",
       kHistogram,
       "seconds",
       "Of a request: from its first token to its last, divided by the tokens after the first.",
       {},
       buckets::BetweenTokens()},
      {"longhand_request_prefill_seconds",
       kHistogram,
       "seconds",
       "From admission to the first token.",
       {},
       buckets::Request()},
      {"longhand_request_decode_seconds",
       kHistogram,
       "seconds",
       "From the first token to the last.",
       {},
       buckets::Request()},
      {"longhand_request_inference_seconds",
       kHistogram,
       "seconds",
       "From admission to the last token.",
       {},
       buckets::Request()},
      {"longhand_request_duration_seconds",
       kHistogram,
       "seconds",
       "From submission to the end.",
       {},
       buckets::Request()},
  };
}

Table TokensAndWords() {
  return {
      {"longhand_prompt_tokens_total", kCounter, "tokens",
       "Tokens of prompts that were read, those in the prefix cache too."},
      {"longhand_generation_tokens_total", kCounter, "tokens", "Tokens written."},
      {"longhand_surplus_tokens_total", kCounter, "tokens",
       "Tokens sampled ahead after an answer had ended, and dropped."},
      {"longhand_request_prompt_tokens",
       kHistogram,
       "tokens",
       "Tokens of a request's prompt.",
       {},
       buckets::Tokens()},
      {"longhand_request_generation_tokens",
       kHistogram,
       "tokens",
       "Tokens of a request's answers.",
       {},
       buckets::Tokens()},
      {"longhand_request_max_tokens",
       kHistogram,
       "tokens",
       "The most tokens that a request allows an answer.",
       {},
       buckets::Tokens()},
      {"longhand_request_choices",
       kHistogram,
       "answers",
       "Answers that a request asks for (n).",
       {},
       {1, 2, 5, 10, 20}},
      {"longhand_words_total", kCounter, "words",
       "Words written, as LongWriter-V's benchmarks count them. Counted every 16 tokens and at the "
       "end of an answer."},
      {"longhand_words_actual",
       kHistogram,
       "words",
       "Words of an answer that came to its end.",
       {},
       buckets::Tokens()},
      {"longhand_words_target",
       kHistogram,
       "words",
       "Words that an answer was asked to have, when it came to its end.",
       {},
       buckets::Tokens()},
      {"longhand_words_toward_targets_total", kCounter, "words",
       "Words of answers that were asked to have so many, when they came to their end."},
      {"longhand_length_score",
       kHistogram,
       "points",
       "Length score (LongWriter-V's S_l) of an answer with a word target, 0 to 100.",
       {},
       {10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 99, 100}},
      {"longhand_repetition_events_total",
       kCounter,
       "events",
       "Loops that the repetition guard led an answer out of, and answers that it ended.",
       {{"action", {"redirected", "ended"}}}},
  };
}

Table Memory() {
  return {
      {"longhand_kv_blocks", kGauge, "blocks", "KV blocks of the worker group that is up."},
      {"longhand_kv_blocks_free", kGauge, "blocks", "KV blocks that no sequence holds."},
      {"longhand_kv_blocks_promised", kGauge, "blocks",
       "KV blocks promised to answers and not yet taken."},
      {"longhand_kv_cache_usage_ratio", kGauge, "ratio",
       "Share of the KV blocks that is held, 0 to 1."},
      {"longhand_kv_cache_config_info",
       kGauge,
       "1",
       "1 for the KV cache of the worker group that is up.",
       {{"block_size", {}, "--block-size"},
        {"num_blocks", {}, "what fits"},
        {"dtype", {}, "--kv-cache-dtype"}}},
      {"longhand_prefix_cache_queries_total", kCounter, "tokens",
       "Tokens that the prefix cache was asked for."},
      {"longhand_prefix_cache_hits_total", kCounter, "tokens", "Of these, tokens that it had."},
      {"longhand_preemptions_total", kCounter, "answers",
       "Answers that lost their KV blocks to older ones."},
      {"longhand_preempted_tokens_total", kCounter, "tokens",
       "Tokens in KV blocks of preempted answers: computed again."},
      {"longhand_kv_blocks_swapped_total",
       kCounter,
       "blocks",
       "KV blocks of preempted answers that went to host memory, and that came back.",
       {{"direction", {"out", "in"}}}},
      {"longhand_images_encoded_total", kCounter, "images",
       "Images that the vision encoder has encoded."},
      {"longhand_image_cache_queries_total", kCounter, "images",
       "Images that admitted answers asked for."},
      {"longhand_image_cache_hits_total", kCounter, "images",
       "Of these, images that were encoded, or being encoded, already."},
  };
}

Table Steps() {
  return {
      {"longhand_steps_total", kCounter, "steps", "Steps that came back."},
      {"longhand_step_tokens",
       kHistogram,
       "tokens",
       "Tokens of one step.",
       {},
       buckets::StepTokens()},
      {"longhand_step_execute_seconds",
       kHistogram,
       "seconds",
       "Wall time of a step on rank 0.",
       {},
       buckets::Step()},
      {"longhand_rank_step",
       kGauge,
       "steps",
       "Number of the step that the rank finished last.",
       {kRank}},
      {"longhand_rank_heartbeat_age_seconds",
       kGauge,
       "seconds",
       "Since the worker was heard; it is heard every 0.2 s.",
       {kRank}},
      {"longhand_rank_progress_age_seconds",
       kGauge,
       "seconds",
       "Since the rank's computing thread turned, idle or at work.",
       {kRank}},
      {"longhand_last_token_age_seconds", kGauge, "seconds",
       "Since the latest token while answers are due, else 0."},
  };
}

Table Reliability() {
  return {
      {"longhand_build_info",
       kGauge,
       "1",
       "1 for the program that runs.",
       {{"version", {}, "one a build"}}},
      {"longhand_ready", kGauge, "bool", "1 while tokens can be made."},
      {"longhand_load_percent", kGauge, "percent",
       "Share of the weights that is loaded, 0 to 100."},
      {"longhand_spare_workers_ready", kGauge, "workers",
       "Workers that could take a lost rank's place at once."},
  };
}

Table Groups() {
  return {
      {"longhand_worker_group_up", kGauge, "bool", "1 while a worker group can run steps."},
      {"longhand_worker_group_epoch", kGauge, "epochs", "Epoch of the latest worker group."},
      {"longhand_failovers_total",
       kCounter,
       "groups",
       "Worker groups that were up and were lost: a connection broke, a worker was not heard, its "
       "thread stood still, or "
       "a step took too long or failed.",
       {{"cause", {"connection", "silence", "standstill", "step_timeout", "step_error"}}}},
      {"longhand_failover_seconds",
       kHistogram,
       "seconds",
       "From the loss of a worker group to the next token or, without requests, to the next group.",
       {},
       buckets::Decades(-2, 1000)},
      {"longhand_stream_resumes_total",
       kCounter,
       "streams",
       "Requests that went on with a new worker group or a new coordinator, and clients that came "
       "back to a stream.",
       {{"cause", {"worker_group_lost", "coordinator_restart", "client"}}}},
      {"longhand_requests_moved_total", kCounter, "requests",
       "Requests that went on with another worker group, because their own was lost for long."},
      {"longhand_tokens_replayed_total", kCounter, "tokens",
       "Tokens of prompts and answers that were in KV, were lost and are computed again."},
  };
}

Table Journal() {
  return {
      {"longhand_tokens_lost_total", kCounter, "tokens",
       "Tokens that were sent and cannot be given again: records of the journal that were damaged. "
       "Stays 0."},
      {"longhand_journal_batches_total", kCounter, "transactions", "Transactions of the journal."},
      {"longhand_journal_entries_total", kCounter, "records", "Records written to the journal."},
      {"longhand_journal_failures_total", kCounter, "transactions",
       "Attempts to write the journal that failed."},
      {"longhand_journal_backlog", kGauge, "records", "Records that wait to be written."},
      {"longhand_journal_bytes", kGauge, "bytes", "Size of the journal's pages in use."},
      {"longhand_journal_healthy", kGauge, "bool",
       "1 while requests can be kept: the latest attempt to write did not fail and the disk has "
       "room; absent without a journal."},
      {"longhand_journal_disk_available_bytes", kGauge, "bytes",
       "What is free on the journal's disk, beside its reserve."},
      {"longhand_journal_requests_forgotten_early_total", kCounter, "requests",
       "Requests that were over and went before their age and the journal's bound, because its "
       "disk "
       "had no room."},
      {"longhand_journal_write_seconds",
       kHistogram,
       "seconds",
       "Wall time of a transaction of the journal.",
       {},
       buckets::Decades(-5, 10)},
      {"longhand_journal_requests_restored_total", kCounter, "requests",
       "Requests of an earlier coordinator that went on from the journal."},
  };
}

// Each adapter is in all groups.
Table Adapters() {
  return {
      {"longhand_adapters_loaded", kGauge, "adapters", "LoRA adapters that are loaded."},
      {"longhand_adapter_requests_info",
       kGauge,
       "Unix time",
       "When it was looked, with the adapters of requests that run and that wait as labels. "
       "One series; none without room for adapters.",
       {{"max_lora", {}, "one"},
        {"running_lora_adapters", {}, "the current ones, joined by commas"},
        {"waiting_lora_adapters", {}, "the current ones, joined by commas"}}},
  };
}

Table Documents() {
  return {
      {"longhand_documents_running", kGauge, "documents", "Documents that are being written."},
      {"longhand_documents_total",
       kCounter,
       "documents",
       "Documents that came to their end, or were refused.",
       {{"outcome", {"written", "cancelled", "failed", "refused"}}}},
      {"longhand_section_progress", kGauge, "ratio",
       "Share of the planned words of running documents that is written, 0 to 1; 0 while none has "
       "a plan."},
  };
}

Table Edges() {
  return {
      {"longhand_http_requests_total",
       kCounter,
       "requests",
       "HTTP requests by route and by how they were answered.",
       {{"route", {}, "paths of the HTTP gateway (with the method for `DELETE`), and other"},
        {"outcome", {"ok", "client_error", "server_error", "abandoned"}}}},
      {"longhand_http_connections", kGauge, "connections", "Open connections of HTTP clients."},
      {"longhand_connections_refused_total", kCounter, "connections",
       "Connections that were closed at once: no descriptor (ulimit -n) was left for them, or "
       "--max-http-connections were open."},
      {"longhand_trace_spans_total",
       kCounter,
       "spans",
       "Spans that the collector of --otlp-traces-endpoint took, and those dropped because it did "
       "not.",
       {{"outcome", {"exported", "dropped"}}}},
  };
}

}  // namespace

std::span<const MetricSpec> CoordinatorMetricTable() {
  static const Table table = [] {
    Table all;
    for (Table part : {Requests(), TokensAndWords(), Memory(), Steps(), Groups()}) {
      for (MetricSpec& spec : part) spec.is_of_group = true;
      std::move(part.begin(), part.end(), std::back_inserter(all));
    }
    for (Table part : {Adapters(), Documents(), Reliability(), Journal(), Edges()})
      std::move(part.begin(), part.end(), std::back_inserter(all));
    return all;
  }();
  return table;
}

}  // namespace longhand
