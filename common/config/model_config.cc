#include "common/config/model_config.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

#include "common/config/json_fields.h"

namespace longhand {
namespace {

using internal::JsonFields;

// Far above any model, far below what would overflow or exhaust memory by a typing error.
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr int64_t kMaxPixels = int64_t{1} << 28;
// Of a file that names none: the image processor's class defaults. The published files name theirs.
constexpr int64_t kDefaultMinPixels = 56 * 56;
constexpr int64_t kDefaultMaxPixels = 28 * 28 * 1280;
constexpr int64_t kBicubic = 3;  // as Pillow counts its filters

// A nested config leaves out what equals the class defaults of Qwen2_5_VLTextConfig (the 72B's
// sizes, epsilon apart); a flat one always writes these fields.
void ReadText(JsonFields& text, bool nested, ModelConfig* config) {
  const auto absent = [nested](int64_t value) {
    return nested ? std::optional<int64_t>(value) : std::nullopt;
  };
  config->hidden_size = text.Int("hidden_size", 1, kMaxWidth, absent(8192));
  config->intermediate_size = text.Int("intermediate_size", 1, kMaxWidth, absent(29568));
  config->num_layers = text.Int("num_hidden_layers", 1, kMaxLayers, absent(80));
  config->num_heads = text.Int("num_attention_heads", 1, kMaxWidth, absent(64));
  config->num_kv_heads =
      text.Int("num_key_value_heads", 1, kMaxWidth, nested ? 8 : config->num_heads);
  config->vocab_size = text.Int("vocab_size", 1, kMaxVocab, absent(152064));
  config->max_position_embeddings =
      text.Int("max_position_embeddings", 1, kMaxPositions, absent(32768));
  config->rms_norm_eps = static_cast<float>(
      text.Number("rms_norm_eps", 0, 1, nested ? std::optional<double>(1e-5) : std::nullopt));
  text.OneOf("hidden_act", {"silu"});
  if (text.Bool("use_sliding_window", false)) text.Fail("use_sliding_window", "true", "false");
  text.EachOneOf("layer_types", {"full_attention"});
}

void CheckText(JsonFields& text, ModelConfig* config) {
  if (!text.status().ok()) return;
  const std::string heads = std::to_string(config->num_heads);
  if (config->hidden_size % config->num_heads != 0) {
    text.Fail("hidden_size", std::to_string(config->hidden_size),
              "a multiple of num_attention_heads, " + heads);
  } else if (config->num_heads % config->num_kv_heads != 0) {
    text.Fail("num_key_value_heads", std::to_string(config->num_kv_heads),
              "a divisor of num_attention_heads, " + heads);
  }
  config->head_dim = config->hidden_size / config->num_heads;
  if (config->head_dim % 2 != 0) {
    text.Fail("hidden_size", std::to_string(config->hidden_size),
              "an even head size; it is " + std::to_string(config->head_dim));
  }
  text.Int("head_dim", config->head_dim, config->head_dim, config->head_dim);
}

// rope_scaling until transformers 4.57, rope_parameters (with the base in it) since 5.0. A
// rope_scaling that was written beside those, as for YaRN, is the one that counts.
void ReadRope(JsonFields& text, JsonFields nested, const ModelConfig& config, RopeConfig* rope) {
  JsonFields& owner = nested.Has("rope_scaling") || nested.Has("rope_parameters") ? nested : text;
  const std::string_view name = owner.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (text.status().ok() && !owner.Has(name))
    return text.Fail("rope_scaling", "missing", "an object with mrope_section");
  JsonFields scaling = owner.Object(name);
  rope->theta = scaling.Number("rope_theta", 1, 1e12, text.Number("rope_theta", 1, 1e12, 1e6));
  scaling.OneOf("rope_type", {"default", "mrope", "yarn"});
  scaling.OneOf("type", {"default", "mrope", "yarn"});
  rope->mrope_section = scaling.IntList("mrope_section", 0, kMaxWidth, 3);
  if (!text.status().ok()) return;
  const int64_t sum =
      std::accumulate(rope->mrope_section.begin(), rope->mrope_section.end(), int64_t{0});
  if (sum != config.head_dim / 2) {
    scaling.Fail("mrope_section", "three numbers whose sum is " + std::to_string(sum),
                 "a sum of " + std::to_string(config.head_dim / 2) + ", half the head size");
  }
  if (scaling.String("rope_type", scaling.String("type", "default")) != "yarn") return;
  rope->yarn_factor = scaling.Number("factor", 1, 1024);
  rope->original_max_position_embeddings = scaling.Int(
      "original_max_position_embeddings", 1, kMaxPositions, config.max_position_embeddings);
  rope->yarn_beta_fast = scaling.Number("beta_fast", 1e-3, 1e6, 32.0);
  rope->yarn_beta_slow = scaling.Number("beta_slow", 1e-3, 1e6, 1.0);
  rope->yarn_attention_factor = scaling.Number("attention_factor", 0, 1e3, 0.0);
  if (!scaling.Bool("truncate", true)) scaling.Fail("truncate", "false", "true");
  for (const char* other : {"mscale", "mscale_all_dim"}) {
    if (scaling.Has(other))
      scaling.Fail(other, "present", "attention_factor instead, for this model");
  }
}

// Absent fields have the class defaults of Qwen2_5_VLVisionConfig, which are those of VisionConfig.
void ReadVision(JsonFields vision, VisionConfig* out) {
  const VisionConfig absent;
  out->depth = vision.Int("depth", 1, kMaxLayers, absent.depth);
  out->hidden_size = vision.Int("hidden_size", 1, kMaxWidth, absent.hidden_size);
  out->intermediate_size = vision.Int("intermediate_size", 1, kMaxWidth, absent.intermediate_size);
  out->num_heads = vision.Int("num_heads", 1, kMaxWidth, absent.num_heads);
  out->out_hidden_size = vision.Int("out_hidden_size", 1, kMaxWidth, absent.out_hidden_size);
  out->patch_size = vision.Int("patch_size", 1, 256, absent.patch_size);
  out->spatial_merge_size = vision.Int("spatial_merge_size", 1, 16, absent.spatial_merge_size);
  out->temporal_patch_size = vision.Int("temporal_patch_size", 1, 16, absent.temporal_patch_size);
  out->window_size = vision.Int("window_size", 1, 1 << 16, absent.window_size);
  out->fullatt_block_indexes =
      vision.IntList("fullatt_block_indexes", 0, out->depth - 1, 0, absent.fullatt_block_indexes);
  vision.Int(vision.Has("in_channels") ? "in_channels" : "in_chans", 3, 3, 3);
  vision.OneOf("hidden_act", {"silu"});
  // Written since transformers 5.
  JsonFields rope = vision.Object("rope_parameters");
  rope.OneOf("rope_type", {"axial", "default"});
  rope.Number("rope_theta", 1e4, 1e4, 1e4);
}

void CheckVision(JsonFields vision, const ModelConfig& config) {
  if (!vision.status().ok()) return;
  const VisionConfig& v = config.vision;
  if (v.hidden_size % v.num_heads != 0 || v.head_dim() % 4 != 0) {
    vision.Fail("hidden_size", std::to_string(v.hidden_size),
                "a multiple of num_heads (" + std::to_string(v.num_heads) + ") times 4");
  }
  if (v.out_hidden_size != config.hidden_size) {
    vision.Fail("out_hidden_size", std::to_string(v.out_hidden_size),
                "hidden_size of the text model, " + std::to_string(config.hidden_size));
  }
  const int64_t unit = v.patch_size * v.spatial_merge_size;
  if (v.window_size % unit != 0) {
    vision.Fail("window_size", std::to_string(v.window_size),
                "a multiple of patch_size * spatial_merge_size, " + std::to_string(unit));
  }
}

// The class defaults are the real models' ids; a smaller vocabulary must name its own.
void ReadTokenIds(JsonFields& top, ModelConfig* config) {
  const int64_t last = config->vocab_size - 1;
  const auto read = [&](std::string_view name, int64_t usual) {
    const auto absent = usual <= last ? std::optional<int64_t>(usual) : std::nullopt;
    return static_cast<int32_t>(top.Int(name, 0, last, absent));
  };
  config->image_token_id = read("image_token_id", 151655);
  config->video_token_id = read("video_token_id", 151656);
  config->vision_start_token_id = read("vision_start_token_id", 151652);
}

void ReadDType(JsonFields& fields, ModelConfig* config) {
  const std::string_view name = fields.Has("dtype") ? "dtype" : "torch_dtype";
  fields.OneOf(name, {"bfloat16", "float32", "float16"});
  const std::string dtype = fields.String(name, "bfloat16");
  config->torch_dtype = dtype == "float32"   ? DType::kF32
                        : dtype == "float16" ? DType::kF16
                                             : DType::kBf16;
}

// One id or a list of them.
std::vector<int32_t> ReadEosIds(JsonFields& fields, std::string_view name, int64_t vocab_size) {
  if (!fields.Has(name)) return {};
  std::vector<int64_t> ids;
  if (fields.IsList(name)) {
    ids = fields.IntList(name, 0, vocab_size - 1, 0);
  } else {
    ids.push_back(fields.Int(name, 0, vocab_size - 1));
  }
  return {ids.begin(), ids.end()};
}

// AutoAWQ's "gemm" files.
void ReadAwq(JsonFields& fields, CheckpointQuantization* out) {
  out->method = Quantization::kAwq;
  fields.Int("bits", 4, 4);
  out->group_size = fields.Int("group_size", kHalfGroup, kMaxWidth);
  if (out->group_size % kHalfGroup != 0) {
    fields.Fail("group_size", std::to_string(out->group_size),
                "a multiple of " + std::to_string(kHalfGroup));
  }
  fields.OneOf("version", {"gemm"});
  if (!fields.Bool("zero_point", true)) fields.Fail("zero_point", "false", "true");
}

// compressed-tensors' FP8 with a scale for each output, and for each token when it comes.
void ReadFp8(JsonFields& fields, CheckpointQuantization* out) {
  out->method = Quantization::kFp8;
  fields.OneOf("format", {"float-quantized"});
  JsonFields groups = fields.Object("config_groups");
  JsonFields group = groups.Object("group_0");
  JsonFields weights = group.Object("weights"), inputs = group.Object("input_activations");
  for (JsonFields* part : {&weights, &inputs}) {
    part->Int("num_bits", 8, 8);
    if (!part->Has("type")) part->Fail("type", "missing", "\"float\"");
    part->OneOf("type", {"float"});
  }
  weights.OneOf("strategy", {"channel"});
  inputs.OneOf("strategy", {"token"});
  if (!inputs.Bool("dynamic", false)) inputs.Fail("dynamic", "false", "true");
}

void ReadQuantization(JsonFields& top, CheckpointQuantization* out) {
  if (!top.Has("quantization_config")) return;
  JsonFields fields = top.Object("quantization_config");
  fields.OneOf("quant_method", {"awq", "compressed-tensors"});
  const std::string method = fields.String("quant_method", "");
  if (method == "awq") return ReadAwq(fields, out);
  if (method == "compressed-tensors") return ReadFp8(fields, out);
  fields.Fail("quant_method", "missing", "\"awq\" or \"compressed-tensors\"");
}

Status ReadConfigJson(const std::filesystem::path& directory, ModelConfig* config) {
  LONGHAND_ASSIGN_OR_RETURN(const boost::json::object object,
                            internal::ReadJsonObject(directory / "config.json"));
  Status status;
  JsonFields top("config.json", "", object, status);
  if (!top.Has("model_type")) top.Fail("model_type", "missing", "\"qwen2_5_vl\"");
  top.OneOf("model_type", {"qwen2_5_vl"});
  ReadQuantization(top, &config->quantization);
  // The flat layout has the text fields at the top; text_config wins where both have one.
  const bool nested = top.Has("text_config");
  JsonFields text = top.Object("text_config");
  text.SetFallback(&top);
  ReadText(text, nested, config);
  CheckText(text, config);
  // Written in either place, and in the other one as false.
  config->tie_word_embeddings =
      text.Bool("tie_word_embeddings", false) || top.Bool("tie_word_embeddings", false);
  if (status.ok()) ReadRope(text, top.Object("text_config"), *config, &config->rope);
  ReadVision(top.Object("vision_config"), &config->vision);
  CheckVision(top.Object("vision_config"), *config);
  if (!status.ok()) return status;

  ReadTokenIds(top, config);
  JsonFields dtype = top.Object("text_config");
  ReadDType(top.Has("dtype") || top.Has("torch_dtype") ? top : dtype, config);
  config->generation.eos_token_ids = ReadEosIds(text, "eos_token_id", config->vocab_size);
  return status;
}

Status ReadGenerationConfig(const std::filesystem::path& directory, ModelConfig* config) {
  auto object = internal::ReadJsonObject(directory / "generation_config.json");
  if (object.status().code() == StatusCode::kNotFound) return OkStatus();
  if (!object.ok()) return object.status();
  Status status;
  JsonFields fields("generation_config.json", "", *object, status);
  GenerationDefaults& out = config->generation;
  out.do_sample = fields.Bool("do_sample", true);
  out.temperature = static_cast<float>(fields.Number("temperature", 0, 1e6, 1.0));
  out.top_p = static_cast<float>(fields.Number("top_p", 1e-9, 1, 1.0));
  out.top_k = static_cast<int32_t>(fields.Int("top_k", 0, kMaxVocab, 0));
  out.repetition_penalty = static_cast<float>(fields.Number("repetition_penalty", 1e-3, 1e3, 1.0));
  std::vector<int32_t> eos = ReadEosIds(fields, "eos_token_id", config->vocab_size);
  if (!eos.empty()) out.eos_token_ids = std::move(eos);
  return status;
}

void ReadImageFields(JsonFields& fields, const VisionConfig& vision, ImagePolicy* out) {
  JsonFields size = fields.Object("size");
  const int64_t shortest = size.Int("shortest_edge", 1, kMaxPixels, kDefaultMinPixels);
  const int64_t longest = size.Int("longest_edge", 1, kMaxPixels, kDefaultMaxPixels);
  out->min_pixels = fields.Int("min_pixels", 1, kMaxPixels, shortest);
  out->max_pixels = fields.Int("max_pixels", 1, kMaxPixels, longest);
  if (fields.status().ok() && out->min_pixels > out->max_pixels) {
    fields.Fail("min_pixels", std::to_string(out->min_pixels),
                "at most max_pixels, " + std::to_string(out->max_pixels));
  }
  for (const char* step : {"do_resize", "do_rescale", "do_normalize"}) {
    if (!fields.Bool(step, true)) fields.Fail(step, "false", "true");
  }
  fields.Int("resample", kBicubic, kBicubic, kBicubic);
  fields.Number("rescale_factor", 0.003921568, 0.003921569, 1.0 / 255);
  fields.Int("patch_size", vision.patch_size, vision.patch_size, vision.patch_size);
  fields.Int("merge_size", vision.spatial_merge_size, vision.spatial_merge_size,
             vision.spatial_merge_size);
  fields.Int("temporal_patch_size", vision.temporal_patch_size, vision.temporal_patch_size,
             vision.temporal_patch_size);
  const std::vector<double> mean =
      fields.NumberList("image_mean", -1e3, 1e3, 3, {out->mean[0], out->mean[1], out->mean[2]});
  const std::vector<double> std =
      fields.NumberList("image_std", 1e-6, 1e3, 3, {out->std[0], out->std[1], out->std[2]});
  for (int channel = 0; channel < 3; ++channel) {
    out->mean[channel] = static_cast<float>(mean[channel]);
    out->std[channel] = static_cast<float>(std[channel]);
  }
}

// preprocessor_config.json until transformers 4.57; 5.x nests the same in processor_config.json,
// which counts where both are there. That of 4.x has no image processor in it.
Status ReadImagePolicy(const std::filesystem::path& directory, ModelConfig* config) {
  for (const std::string_view file : {"processor_config.json", "preprocessor_config.json"}) {
    auto object = internal::ReadJsonObject(directory / file);
    if (object.status().code() == StatusCode::kNotFound) continue;
    if (!object.ok()) return object.status();
    Status status;
    JsonFields top(std::string(file), "", *object, status);
    const bool is_nested = file == "processor_config.json";
    if (is_nested && !top.Has("image_processor")) continue;
    JsonFields nested = top.Object("image_processor");
    ReadImageFields(is_nested ? nested : top, config->vision, &config->image_policy);
    return status;
  }
  return OkStatus();
}

}  // namespace

Result<ModelConfig> ModelConfig::Load(const std::filesystem::path& directory) {
  ModelConfig config;
  config.directory = directory;
  LONGHAND_RETURN_IF_ERROR(ReadConfigJson(directory, &config));
  LONGHAND_RETURN_IF_ERROR(ReadGenerationConfig(directory, &config));
  LONGHAND_RETURN_IF_ERROR(ReadImagePolicy(directory, &config));
  return config;
}

}  // namespace longhand
