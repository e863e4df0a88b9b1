#include "coordinator/engine/config.h"

namespace longhand::engine {

Status CheckConfig(const EngineConfig& config) {
  if (config.max_num_seqs < 1) {
    return InvalidArgument("max-num-seqs is ", config.max_num_seqs, "; it must be at least 1");
  }
  // Every running stream gets its token in every step.
  if (config.max_num_batched_tokens < config.max_num_seqs) {
    return InvalidArgument("max-num-batched-tokens is ", config.max_num_batched_tokens,
                           "; it must be at least max-num-seqs, which is ", config.max_num_seqs);
  }
  if (config.max_model_len < 2) {
    return InvalidArgument("max-model-len is ", config.max_model_len, "; it must be at least 2");
  }
  if (config.max_waiting_seqs < 1) {
    return InvalidArgument("the waiting queue holds ", config.max_waiting_seqs,
                           " sequences; it must hold at least 1");
  }
  if (config.max_waiting_seqs_per_tenant < 1) {
    return InvalidArgument("the waiting queue holds ", config.max_waiting_seqs_per_tenant,
                           " sequences of a tenant; it must hold at least 1");
  }
  if (!(config.length_quantile > 0 && config.length_quantile <= 1)) {
    return InvalidArgument("the quantile of lengths is ", config.length_quantile,
                           "; it must be above 0 and at most 1");
  }
  if (config.max_num_prefill_tokens < 1) {
    return InvalidArgument("max-num-prefill-tokens is ", config.max_num_prefill_tokens,
                           "; it must be at least 1");
  }
  for (const auto& [tenant, weight] : config.tenant_weights) {
    if (weight < 1) {
      return InvalidArgument("the weight of tenant '", tenant, "' is ", weight,
                             "; it must be at least 1");
    }
  }
  if (config.max_encode_patch_layers < 1) {
    return InvalidArgument("the encoding budget is ", config.max_encode_patch_layers,
                           " patch layers a step; it must be at least 1");
  }
  if (config.pipeline_depth < 0 || config.pipeline_depth > 1) {
    return InvalidArgument("the pipeline depth is ", config.pipeline_depth, "; it must be 0 or 1");
  }
  return OkStatus();
}

}  // namespace longhand::engine
