// What `longhand serve` and `longhand-coordinator` are told. Names follow vLLM's where the meaning
// is the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace CLI {
class App;
}

namespace longhand {

struct ServeOptions {
  std::string model;              // a directory, or a repository of the hub's cache
  std::string revision = "main";  // of the repository
  std::string served_model_name;  // empty: the directory's name
  std::string device = "cpu";     // cpu, reference
  int tensor_parallel_size = 1;
  int data_parallel_size = 1;           // groups of so many ranks
  std::string dtype = "auto";           // auto, float32, bfloat16
  std::string kv_cache_dtype = "auto";  // auto: as dtype; float32, bfloat16, int8, fp8
  std::string quantization = "auto";    // auto, none, int8, fp8, awq
  int64_t max_model_len =
      0;  // tokens; 0: the checkpoint's max_position_embeddings, as far as the cache holds
  int64_t kv_cache_memory_bytes =
      0;                // of each rank; 0: enough for max_num_seqs, within a quarter of the memory
  int block_size = 16;  // tokens
  int64_t swap_space = 0;  // bytes of each rank's host memory, for KV blocks of preempted answers
  int64_t max_num_seqs = 64;
  int64_t max_num_batched_tokens = 2048;
  bool enable_prefix_caching = true;
  bool deterministic = true;
  int64_t max_num_prefill_tokens = 512;  // of these, while streams decode
  int64_t target_step_ms = 500;          // while streams decode; 0: whatever it takes
  int64_t max_waiting_requests = 1024;
  int64_t max_waiting_requests_per_tenant = 0;  // 0: as many as of all
  int64_t max_documents = 64;                   // written at once
  int64_t max_queue_time = 0;                   // seconds; 0: as long as it takes
  std::vector<std::string> tenant_weights;      // NAME=N
  int pipeline_depth = 1;
  int threads = 0;  // of each worker; 0: the processors divided among the ranks
  int64_t limit_mm_per_prompt = 32;
  std::vector<std::string> lora_modules;  // NAME=DIR
  int64_t max_loras = 0;                  // 0: as many as lora_modules
  int64_t max_lora_rank = 64;
  std::string pixel_policy = "checkpoint";  // checkpoint, longwriter, training
  int64_t min_pixels = 0;                   // 0: as the policy says
  int64_t max_pixels = 0;
  int64_t max_request_bytes = int64_t{256} << 20;
  int64_t step_timeout_ms = 30000;      // on top of the planned work
  int64_t heartbeat_timeout_ms = 1500;  // a worker that is not heard for so long is lost
  int spare_workers = 0;                // of each group, beyond its ranks
  std::string transport = "auto";       // auto, shared_memory, gloo
  std::string http_address = "127.0.0.1:8000";
  std::string grpc_address = "127.0.0.1:8001";
  std::string metrics_address = "127.0.0.1:8002";
  std::string worker_metrics_address = "127.0.0.1:0";  // of the first worker, the others above
  std::string metrics_compat = "vllm";                 // vllm, none
  std::string log_format = "text";                     // text, json
  std::string otlp_traces_endpoint;                    // URL of a collector; empty: no traces
  // A directory; none; auto: with `longhand serve`, a directory that lasts as long, else none.
  std::string journal = "auto";
  std::string journal_sync = "process";          // what it survives: process, disk
  int64_t journal_max_age = 24 * 3600;           // seconds that ended requests are kept
  int64_t journal_max_bytes = int64_t{1} << 30;  // beyond, the oldest ended ones go
  std::string api_key_file;                      // empty: whoever reaches the ports may call
  std::string tls_cert;                          // PEM files; empty: plain
  std::string tls_key;
  std::vector<std::string> allowed_origins = {"*"};  // of web pages that may call
  bool allow_image_urls = false;
  bool allow_runtime_lora_updating = false;
  int64_t max_http_connections = 16384;
  int64_t shutdown_timeout = 30;  // seconds that SIGTERM lets running requests finish
  bool dry_run = false;
  bool json = false;

  // That can run at once: each takes a token of a step.
  int64_t num_seqs() const { return std::min(max_num_seqs, max_num_batched_tokens); }
  // Adapters that workers have room for.
  int64_t num_loras() const {
    return max_loras > 0 ? max_loras : static_cast<int64_t>(lora_modules.size());
  }
  int num_ranks() const { return data_parallel_size * tensor_parallel_size; }
  int num_workers_of_group() const { return tensor_parallel_size + spare_workers; }
  int num_workers() const { return data_parallel_size * num_workers_of_group(); }
};

// Declares the flags, with defaults and ranges, bound to `options`.
void AddServeOptions(CLI::App& app, ServeOptions& options);

}  // namespace longhand
