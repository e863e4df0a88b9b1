// What bounds the engine: chosen by the operator (EngineConfig) and offered by the workers
// (GroupShape).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"

namespace longhand::engine {

struct EngineConfig {
  int64_t max_num_batched_tokens = 2048;  // of one step
  int64_t max_num_prefill_tokens = 512;   // of these, prompt tokens while streams decode
  Duration target_step_time{};            // step_pace.h
  int64_t max_num_seqs = 64;              // admitted at once; at most max_num_batched_tokens
  int64_t max_model_len = 32768;          // tokens of prompt and answer
  int64_t max_waiting_seqs = 1024;        // beyond: kResourceExhausted
  int64_t max_waiting_seqs_per_tenant = 1024;
  Duration max_queue_time = Duration::max();  // without being admitted; then kResourceExhausted
  // An answer of unknown length is promised the blocks of what this share of answers took.
  double length_quantile = 0.8;
  // A tenant's share of tokens while others wait too, against 1.
  std::map<std::string, int64_t> tenant_weights;
  // A level of priority is worth so much waiting: nothing starves.
  Duration priority_step = std::chrono::seconds(30);
  // ViT work of one step on one rank, in patches times blocks, so that pictures never stall running
  // streams. The default takes 2,048 patches through 32 blocks: about 200 tokens' worth of a 7B
  // decoder.
  int64_t max_encode_patch_layers = 65536;
  bool enable_prefix_caching = true;  // keep blocks of finished work for prompts that begin alike
  int32_t pipeline_depth = 1;         // plans sent ahead of the one that runs: 0 or 1
  std::vector<int32_t> eos_token_ids;
};

// kInvalidArgument naming the first field out of range.
Status CheckConfig(const EngineConfig& config);

// One worker group, as it was formed.
struct GroupShape {
  int32_t num_ranks = 1;
  int32_t num_encoder_layers = 0;    // ViT blocks
  int64_t num_blocks = 0;            // KV blocks, the same on every rank
  int64_t num_host_blocks = 0;       // KV blocks in host memory, for those that are preempted
  int32_t block_size = 16;           // tokens
  int64_t encoder_cache_tokens = 0;  // rows of the encoder cache
};

}  // namespace longhand::engine
