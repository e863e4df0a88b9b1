// ModelConfig: what config.json, generation_config.json and preprocessor_config.json of a
// Qwen2.5-VL checkpoint say.
//
// Reads every layout that exists: published (flat), as transformers 4.49 saved it (vision fields at
// class defaults left out), 4.52 to 4.57 (flat plus text_config, which wins) and 5.x (nested;
// processor_config.json).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/config/quantization.h"
#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand {

struct VisionConfig {
  int64_t depth = 32;
  int64_t hidden_size = 3584;
  int64_t intermediate_size = 3420;
  int64_t num_heads = 16;
  int64_t out_hidden_size = 3584;
  int64_t patch_size = 14;
  int64_t spatial_merge_size = 2;
  int64_t temporal_patch_size = 2;
  int64_t window_size = 112;  // pixels
  std::vector<int64_t> fullatt_block_indexes = {7, 15, 23, 31};

  int64_t head_dim() const { return hidden_size / num_heads; }
  // The merger makes one of a square of them.
  int64_t patches_per_token() const { return spatial_merge_size * spatial_merge_size; }
  int64_t patch_dim() const { return 3 * temporal_patch_size * patch_size * patch_size; }
  // The MLP's width in memory, with zeros past intermediate_size: rows of 3420 elements are not
  // aligned to 16 bytes, and products over them several times slower.
  int64_t padded_intermediate_size() const { return (intermediate_size + 63) / 64 * 64; }
};

struct RopeConfig {
  double theta = 1e6;
  std::vector<int64_t> mrope_section;  // sums to head_dim / 2: time, height, width
  // YaRN, static: active when factor > 1.
  double yarn_factor = 1.0;
  int64_t original_max_position_embeddings = 0;
  double yarn_beta_fast = 32.0;
  double yarn_beta_slow = 1.0;
  double yarn_attention_factor = 0;  // 0: 0.1 * ln(factor) + 1
};

// How pictures are resized, from preprocessor_config.json (or the image processor of
// processor_config.json).
struct ImagePolicy {
  int64_t min_pixels = 3136;
  int64_t max_pixels = 12845056;
  float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
  float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
};

// Defaults of generation_config.json.
struct GenerationDefaults {
  bool do_sample = true;  // false: greedy
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;
  float repetition_penalty = 1.0f;
  std::vector<int32_t> eos_token_ids;
};

struct ModelConfig {
  std::filesystem::path directory;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;    // hidden_size / num_heads
  int64_t vocab_size = 0;  // rows of the embedding; padded past the tokenizer's
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  DType torch_dtype = DType::kBf16;  // what --dtype auto means
  CheckpointQuantization quantization;
  int32_t image_token_id = 0;
  int32_t video_token_id = 0;
  int32_t vision_start_token_id = 0;
  RopeConfig rope;
  VisionConfig vision;
  ImagePolicy image_policy;
  GenerationDefaults generation;

  // Reads the directory. kNotFound when config.json is missing, kInvalidArgument naming file,
  // field, found and expected. generation_config.json and preprocessor_config.json may be absent.
  static Result<ModelConfig> Load(const std::filesystem::path& directory);
};

}  // namespace longhand
