#include "common/options/serve_options.h"

#include <CLI/CLI.hpp>
#include <regex>

#include "common/options/address_check.h"

namespace longhand {
namespace {

// A scalar flag: given twice (file, environment, command line), the last word counts.
template <typename T>
CLI::Option* Scalar(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  return app.add_option(name, value, help)->capture_default_str()->take_last();
}

// On or off: given twice, the last word counts.
CLI::Option* Flag(CLI::App& app, const std::string& name, bool& value, const std::string& help) {
  return app.add_flag(name, value, help)
      ->default_str(value ? "true" : "false")
      ->option_text(value ? "=on" : "=off")
      ->take_last();
}

// A plain number is of GiB, as vLLM's is; one with a unit of that: 512MiB. Says what is wrong.
std::string ParseGib(const std::string& given, int64_t* bytes) {
  const std::string wrong = "'" + given +
                            "' is not a size; it must be from 0 to 1048576 GiB, or a " +
                            "number with a unit, such as 512MiB";
  const bool is_plain = given.find_first_not_of("0123456789.") == std::string::npos;
  try {
    double gib = 0;
    if (is_plain) {
      size_t num_read = 0;
      gib = std::stod(given, &num_read);
      if (num_read != given.size()) return wrong;
    } else {
      std::string number = given;
      if (!CLI::AsSizeValue(/*kb_is_1000=*/false)(number).empty()) return wrong;
      gib = std::stod(number) / static_cast<double>(int64_t{1} << 30);
    }
    if (!(gib >= 0 && gib <= 1 << 20)) return wrong;
    *bytes = static_cast<int64_t>(gib * static_cast<double>(int64_t{1} << 30));
  } catch (const std::exception&) {  // of std::stod
    return wrong;
  }
  return "";
}

void AddModelOptions(CLI::App& app, ServeOptions& o) {
  Scalar(app, "--model", o.model,
         "Checkpoint directory (Hugging Face layout), or org/name as `longhand pull` has it");
  Scalar(app, "--revision", o.revision, "Branch, tag or commit of org/name");
  Scalar(app, "--served-model-name", o.served_model_name,
         "Name that requests may give; the directory's by default");
  Scalar(app, "--device", o.device,
         "Where workers compute; emulated: cuda's kernels on the host, for tests")
      ->check(CLI::IsMember({"cpu", "cuda", "emulated", "reference"}));
  Scalar(app, "--tensor-parallel-size,--tp", o.tensor_parallel_size, "Ranks that share the model")
      ->check(CLI::Range(1, 64));
  Scalar(app, "--dtype", o.dtype, "auto is the checkpoint's")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
  Scalar(app, "--kv-cache-dtype", o.kv_cache_dtype,
         "auto is --dtype; int8 and fp8 (not on cpu) have a scale for each token and head")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "int8", "fp8"}));
  Scalar(
      app, "--quantization", o.quantization,
      "Weights of the decoder's layers; auto: as the checkpoint has them. int8 (not on cuda; the "
      "head and the image encoder too) and fp8 quantise at load, awq reads AWQ checkpoints")
      ->check(CLI::IsMember({"auto", "none", "int8", "fp8", "awq"}));
  Scalar(app, "--data-parallel-size,--dp", o.data_parallel_size,
         "Groups of so many ranks, each with the whole model; requests are divided among them")
      ->check(CLI::Range(1, 64));
  Scalar(app, "--threads", o.threads,
         "Threads of each worker; 0 divides the processors, or what the control group allows of "
         "them, among the ranks of all groups")
      ->check(CLI::Range(0, 1024));
}

std::string CheckTenantWeight(const std::string& given) {
  const size_t equals = given.rfind('=');
  const std::string weight = equals == std::string::npos ? "" : given.substr(equals + 1);
  const bool is_number = !weight.empty() && weight.size() <= 6 &&
                         weight.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && std::stoi(weight) >= 1) return "";
  return "'" + given + "' is not a weight; it must be NAME=N with N from 1 to 999999";
}

void AddQueueOptions(CLI::App& app, ServeOptions& o) {
  Flag(app, "--enable-prefix-caching,!--no-enable-prefix-caching", o.enable_prefix_caching,
       "Keep KV blocks of finished work for prompts that begin alike");
  Scalar(app, "--max-waiting-requests", o.max_waiting_requests,
         "Requests that may wait for a place beside those that run, in all groups together")
      ->check(CLI::Range(1, 1 << 20));
  Scalar(app, "--max-waiting-requests-per-tenant", o.max_waiting_requests_per_tenant,
         "Of these, requests of one tenant; 0 sets no bound of its own")
      ->check(CLI::Range(0, 1 << 20));
  Scalar(app, "--max-documents", o.max_documents,
         "Documents (WriteDocument) that may be written at once")
      ->check(CLI::Range(1, 1 << 16));
  Scalar(app, "--max-queue-time", o.max_queue_time,
         "Seconds that a request may queue before it is refused; 0: as long as it takes")
      ->check(CLI::Range(int64_t{0}, int64_t{7} * 24 * 3600));
  app.add_option("--tenant-weights", o.tenant_weights,
                 "NAME=N,...: shares of tokens while several tenants wait; 1 each otherwise")
      ->delimiter(',')
      ->check(CheckTenantWeight);
}

void AddMemoryOptions(CLI::App& app, ServeOptions& o) {
  const int64_t tera = int64_t{1} << 40;
  Scalar(app, "--max-model-len", o.max_model_len,
         "Tokens of prompt and answer together; 0 is what the checkpoint and the cache allow")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  Scalar(app, "--kv-cache-memory-bytes", o.kv_cache_memory_bytes,
         "KV cache of each rank; 0 chooses")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{0}, 1024 * tera));
  Scalar(app, "--block-size", o.block_size, "Tokens of a KV block")->check(CLI::IsMember({16, 32}));
  app.add_option_function<std::string>(
         "--swap-space", [&o](const std::string& given) { (void)ParseGib(given, &o.swap_space); },
         "GiB of each rank's host memory, or a number with a unit, for KV blocks of preempted "
         "answers; 0: they are computed again")
      ->default_str("0")
      ->take_last()
      ->check([](const std::string& given) {
        int64_t bytes = 0;
        return ParseGib(given, &bytes);
      });
  Scalar(app, "--max-num-seqs", o.max_num_seqs,
         "Sequences that run at once in each group, at most one for each token of a step")
      ->check(CLI::Range(1, 4096));
  Scalar(app, "--max-num-batched-tokens", o.max_num_batched_tokens,
         "Tokens of a step; bounds a prefill chunk")
      ->check(CLI::Range(16, 1 << 20));
  Scalar(
      app, "--max-num-prefill-tokens", o.max_num_prefill_tokens,
      "Of these, prompt tokens of a step in which streams decode; bounds the time between tokens")
      ->check(CLI::Range(1, 1 << 20));
  Scalar(app, "--target-step-ms", o.target_step_ms,
         "Streams get their next token after about so long: where prompts or pictures take longer, "
         "steps have less of them. Four times as long without streams. 0: as long as it takes")
      ->check(CLI::Range(0, 3600 * 1000));
  AddQueueOptions(app, o);
}

// N of what vLLM writes: image=N or {"image": N}. Anything else stays what it is.
std::string PictureLimit(std::string given) {
  static const std::regex kForms(R"(\s*(?:image\s*=|\{\s*"image"\s*:)\s*(\d+)\s*\}?\s*)");
  std::smatch parts;
  return std::regex_match(given, parts, kForms) ? parts[1].str() : given;
}

void AddInputOptions(CLI::App& app, ServeOptions& o) {
  Scalar(app, "--limit-mm-per-prompt", o.limit_mm_per_prompt,
         "Pictures in a request; image=N and {\"image\": N} are N")
      ->transform(PictureLimit)
      ->check(CLI::Range(0, 4096));
  Scalar(app, "--pixel-policy", o.pixel_policy,
         "Picture sizes: the checkpoint's, LongWriter-V's script (50176 to 1048576 pixels), its "
         "training (280 x 280)")
      ->check(CLI::IsMember({"checkpoint", "longwriter", "training"}));
  Scalar(app, "--min-pixels", o.min_pixels, "Overrides the policy; 0 does not")
      ->check(CLI::Range(0, 1 << 26));
  Scalar(app, "--max-pixels", o.max_pixels, "Overrides the policy; 0 does not")
      ->check(CLI::Range(0, 1 << 26));
  Scalar(app, "--max-request-bytes", o.max_request_bytes, "Largest request, pictures included")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 16, int64_t{2047} << 20));
}

std::string CheckLoraModule(const std::string& given) {
  const size_t equals = given.find('=');
  if (equals != std::string::npos && equals > 0 && equals + 1 < given.size()) return "";
  return "'" + given + "' is not an adapter; it must be NAME=DIR";
}

void AddAdapterOptions(CLI::App& app, ServeOptions& o) {
  app.add_option("--lora-modules", o.lora_modules,
                 "NAME=DIR ...: LoRA adapters that PEFT saved, served beside the model by their "
                 "names")
      ->delimiter(',')
      ->check(CheckLoraModule);
  Scalar(app, "--max-loras", o.max_loras,
         "Adapters that may be loaded at once, in memory that is taken at start; 0: as many as "
         "--lora-modules names")
      ->check(CLI::Range(0, 1024));
  Scalar(app, "--max-lora-rank", o.max_lora_rank, "Largest rank of an adapter")
      ->check(CLI::Range(1, 128));
}

void AddProcessOptions(CLI::App& app, ServeOptions& o) {
  Scalar(app, "--pipeline-depth", o.pipeline_depth, "Plans sent ahead of the running one")
      ->check(CLI::Range(0, 1));
  Scalar(app, "--step-timeout-ms", o.step_timeout_ms,
         "A step that takes longer than its work plus this is a hang")
      ->check(CLI::Range(100, 3600 * 1000));
  Scalar(app, "--heartbeat-timeout-ms", o.heartbeat_timeout_ms,
         "A worker that is not heard for so long is lost; it is heard every 200 ms")
      ->check(CLI::Range(500, 3600 * 1000));
  Scalar(app, "--spare-workers", o.spare_workers,
         "Workers of each group beyond its ranks, that have loaded weights and take a lost one's "
         "place")
      ->check(CLI::Range(0, 64));
  Scalar(app, "--transport", o.transport,
         "How ranks exchange activations; auto: NCCL between GPUs, shared memory on one host, else "
         "gloo")
      ->check(CLI::IsMember({"auto", "shared_memory", "gloo"}));
  Scalar(app, "--http-address", o.http_address, "host:port; port 0 picks a free one")
      ->check(CheckAddress);
  Scalar(app, "--grpc-address", o.grpc_address, "host:port; port 0 picks a free one")
      ->check(CheckAddress);
  Scalar(app, "--metrics-address", o.metrics_address, "host:port; port 0 picks a free one")
      ->check(CheckAddress);
  Scalar(app, "--worker-metrics-address", o.worker_metrics_address,
         "With `longhand serve`: host:port of the first worker's metrics, the others at the ports "
         "above; "
         "port 0 picks free ones")
      ->check(CheckAddress);
  Scalar(app, "--metrics-compat", o.metrics_compat,
         "Whose names the metrics have beside Longhand's own")
      ->check(CLI::IsMember({"vllm", "none"}));
  Scalar(app, "--log-format", o.log_format,
         "Lines on standard error, for people or as JSON objects")
      ->check(CLI::IsMember({"text", "json"}));
  Scalar(app, "--otlp-traces-endpoint", o.otlp_traces_endpoint,
         "URL of an OpenTelemetry collector that takes OTLP over HTTP, such as "
         "http://HOST:4318/v1/traces: it gets a trace of each request; none: nobody does")
      ->check(CheckHttpUrl);
  Flag(app, "--deterministic,!--no-deterministic", o.deterministic,
       "Same request, same tokens, whatever else runs. Without: large products on GPUs go through "
       "cuBLASLt; no effect elsewhere");
  Scalar(app, "--shutdown-timeout", o.shutdown_timeout,
         "Seconds that SIGTERM lets running requests finish")
      ->check(CLI::Range(0, 24 * 3600));
  app.add_flag("--dry-run", o.dry_run, "Print the shard plan and the memory it needs, and end")
      ->configurable(false);
  app.add_flag("--json", o.json, "With --dry-run: as one JSON object")->configurable(false);
}

// As browsers send it: without a path, not even a slash.
std::string CheckOrigin(const std::string& given) {
  const size_t host = given.find("://");
  const bool is_origin = host != std::string::npos && host > 0 && host + 3 < given.size() &&
                         given.find('/', host + 3) == std::string::npos;
  if (is_origin || given == "*" || given == "none") return "";
  return "'" + given +
         "' is not an origin; it must be SCHEME://HOST or SCHEME://HOST:PORT, * or none";
}

void AddAccessOptions(CLI::App& app, ServeOptions& o) {
  Scalar(app, "--api-key-file", o.api_key_file,
         "Keys that may call, one a line: KEY or NAME:KEY, KEY itself or sha256:DIGEST; none: "
         "everybody may");
  CLI::Option* cert = Scalar(app, "--tls-cert", o.tls_cert,
                             "PEM file: the certificate of HTTP and gRPC, its chain");
  CLI::Option* key = Scalar(app, "--tls-key", o.tls_key, "PEM file: its private key");
  cert->needs(key);
  key->needs(cert);
  app.add_option("--allowed-origins", o.allowed_origins,
                 "Web pages that may call, such as https://example.org; * is all, none is none")
      ->delimiter(',')
      ->check(CheckOrigin)
      ->default_str("*");
  Flag(app, "--allow-image-urls", o.allow_image_urls,
       "Pictures may be https URLs, which are fetched from the public internet");
  Flag(app, "--allow-runtime-lora-updating", o.allow_runtime_lora_updating,
       "HTTP clients may load adapters from any directory that the server can read, and unload "
       "them");
  Scalar(app, "--max-http-connections", o.max_http_connections, "Open at once")
      ->check(CLI::Range(1, 1 << 20));
}

void AddJournalOptions(CLI::App& app, ServeOptions& o) {
  Scalar(
      app, "--journal", o.journal,
      "Directory in which requests and their answers outlive the coordinator, or none; auto: one "
      "that goes with `longhand serve`");
  Scalar(app, "--journal-sync", o.journal_sync,
         "What a token that was sent survives: the death of the process, or of the machine (disk: "
         "an fsync a step)")
      ->check(CLI::IsMember({"process", "disk"}));
  Scalar(app, "--journal-max-age", o.journal_max_age, "Seconds that ended requests are kept")
      ->check(CLI::Range(int64_t{0}, int64_t{10} * 365 * 24 * 3600));
  Scalar(app, "--journal-max-bytes", o.journal_max_bytes,
         "Size beyond which the oldest ended requests are forgotten")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50));
}

}  // namespace

void AddServeOptions(CLI::App& app, ServeOptions& options) {
  AddModelOptions(app, options);
  AddMemoryOptions(app, options);
  AddInputOptions(app, options);
  AddAdapterOptions(app, options);
  AddProcessOptions(app, options);
  AddAccessOptions(app, options);
  AddJournalOptions(app, options);
}

}  // namespace longhand
