// RunnerConfig: what a ModelRunner is made for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/config/model_config.h"
#include "common/config/quantization.h"
#include "common/tensor_view.h"

namespace longhand::runner {

struct RunnerConfig {
  ModelConfig model;              // its directory holds the checkpoint
  DType dtype = DType::kBf16;     // kF32 or kBf16: see WeightDType() and Ops::ActivationDType()
  DType kv_dtype = DType::kBf16;  // what Ops::HasKvDType() says
  Quantization quantization = Quantization::kNone;
  int64_t num_blocks = 0;
  int64_t num_host_blocks = 0;  // KV blocks in host memory, for those that are swapped out
  int64_t block_size = 16;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_num_seqs = 64;
  int64_t max_model_len = 0;          // of one sequence, in tokens
  int64_t encoder_cache_tokens = 0;   // rows of image embeddings; 0: no images
  int64_t image_bytes = 0;            // of resized pixels held at once
  int64_t max_patches_per_image = 0;  // of 14 x 14 pixels; sizes the encoder's workspace
  int64_t max_loras = 0;              // slots for adapters
  int64_t max_lora_rank = 64;
  int64_t memory_bytes = 0;   // what all of it may take; 0: no limit
  bool deterministic = true;  // kernels::Ops::SetDeterministic
  int load_threads = 1;       // that quantise while weights are loaded
  // One line, where something works another way than it should; empty: standard error.
  std::function<void(const std::string&)> log;
  // Called with each piece of memory that takes long to be had, while a runner is made; or empty.
  std::function<void()> on_piece;
};

}  // namespace longhand::runner
