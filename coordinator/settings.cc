#include "coordinator/settings.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace longhand {

int64_t LargestPicture(const input::PixelPolicy& pixels, const VisionConfig& vision) {
  return pixels.LargestPicture(static_cast<int32_t>(vision.patch_size * vision.spatial_merge_size));
}

Result<input::PixelPolicy> PixelsOf(const ServeOptions& options, const ModelConfig& config) {
  return input::MakePixelPolicy(options.pixel_policy, config.image_policy, options.min_pixels,
                                options.max_pixels);
}

engine::EngineConfig MakeEngineConfig(const ServeOptions& options, const ModelConfig& model) {
  const int64_t of_tenant = options.max_waiting_requests_per_tenant;
  std::map<std::string, int64_t> tenant_weights;
  for (const std::string& given : options.tenant_weights) {
    const size_t equals = given.rfind('=');
    tenant_weights[given.substr(0, equals)] = std::stoll(given.substr(equals + 1));
  }
  return {.max_num_batched_tokens = options.max_num_batched_tokens,
          .max_num_prefill_tokens = options.max_num_prefill_tokens,
          .target_step_time = std::chrono::milliseconds(options.target_step_ms),
          .max_num_seqs = options.num_seqs(),
          .max_model_len =
              options.max_model_len > 0 ? options.max_model_len : model.max_position_embeddings,
          .max_waiting_seqs = options.max_waiting_requests,
          .max_waiting_seqs_per_tenant = of_tenant > 0 ? of_tenant : options.max_waiting_requests,
          .max_queue_time = options.max_queue_time > 0
                                ? Duration(std::chrono::seconds(options.max_queue_time))
                                : Duration::max(),
          .tenant_weights = std::move(tenant_weights),
          .enable_prefix_caching = options.enable_prefix_caching,
          .pipeline_depth = options.pipeline_depth,
          .eos_token_ids = model.generation.eos_token_ids};
}

std::string JournalDirectory(const ServeOptions& options) {
  const bool has_one = options.journal != "none" && options.journal != "auto";
  return has_one ? options.journal : "";
}

journal::JournalConfig MakeJournalConfig(const ServeOptions& options) {
  return {.retention = {.max_age = std::chrono::seconds(options.journal_max_age),
                        .max_bytes = options.journal_max_bytes}};
}

Result<api::ApiKeys> LoadKeys(const ServeOptions& options) {
  return options.api_key_file.empty() ? api::ApiKeys() : api::ApiKeys::Load(options.api_key_file);
}

http::GatewayConfig MakeGatewayConfig(const ServeOptions& options) {
  return {.address = options.http_address,
          .tls_cert = options.tls_cert,
          .tls_key = options.tls_key,
          .limits = {.max_body_bytes = options.max_request_bytes,
                     .max_connections = options.max_http_connections},
          .allowed_origins = options.allowed_origins,
          .allow_image_urls = options.allow_image_urls,
          .allow_runtime_lora_updating = options.allow_runtime_lora_updating};
}

Result<std::unique_ptr<journal::Store>> OpenJournal(const ServeOptions& options) {
  const std::string directory = JournalDirectory(options);
  if (directory.empty()) return std::unique_ptr<journal::Store>();
  const journal::Sync sync =
      options.journal_sync == "disk" ? journal::Sync::kDisk : journal::Sync::kProcess;
  return journal::Store::Open(directory, sync);
}

}  // namespace longhand
