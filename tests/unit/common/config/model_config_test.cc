#include "common/config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testing/temp_directory.h"

namespace longhand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDirectory;

// The fields of the published 7B, as its config.json has them.
constexpr char kTextFields[] = R"(
  "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
  "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
  "max_position_embeddings": 128000, "rms_norm_eps": 1e-06, "hidden_act": "silu",
  "use_sliding_window": false)";
constexpr char kTop[] = R"("model_type": "qwen2_5_vl", "eos_token_id": 151645,
  "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
  "torch_dtype": "bfloat16", "tie_word_embeddings": false)";
constexpr char kRope[] = R"("rope_theta": 1000000.0,
  "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]})";
constexpr char kVision[] = R"("vision_config": {"depth": 32, "hidden_act": "silu",
  "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3,
  "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
  "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
  "temporal_patch_size": 2})";

std::string Join(std::initializer_list<std::string> parts) {
  std::string out = "{";
  for (const std::string& part : parts) out += (out.size() > 1 ? ", " : "") + part;
  return out + "}";
}

std::string Published() { return Join({kTop, kTextFields, kRope, kVision}); }

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  LONGHAND_CHECK(at != std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

Result<ModelConfig> LoadText(const std::string& config) {
  const TempDirectory directory;
  directory.Write("config.json", config);
  return ModelConfig::Load(directory.path());
}

void ExpectIs7B(const ModelConfig& config) {
  EXPECT_EQ(config.hidden_size, 3584);
  EXPECT_EQ(config.intermediate_size, 18944);
  EXPECT_EQ(config.num_layers, 28);
  EXPECT_EQ(config.num_heads, 28);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.vocab_size, 152064);
  EXPECT_EQ(config.max_position_embeddings, 128000);
  EXPECT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.torch_dtype, DType::kBf16);
  EXPECT_EQ(config.image_token_id, 151655);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.rope.yarn_factor, 1.0);
  EXPECT_THAT(config.rope.mrope_section, ElementsAre(16, 24, 24));
  EXPECT_EQ(config.vision.depth, 32);
  EXPECT_EQ(config.vision.hidden_size, 1280);
  EXPECT_EQ(config.vision.intermediate_size, 3420);
  EXPECT_EQ(config.vision.out_hidden_size, 3584);
  EXPECT_THAT(config.vision.fullatt_block_indexes, ElementsAre(7, 15, 23, 31));
  EXPECT_THAT(config.generation.eos_token_ids, ElementsAre(151645));
}

TEST(ModelConfig, ReadsThePublishedFlatLayout) {
  const auto config = LoadText(Published());
  ASSERT_TRUE(config.ok()) << config.status();
  ExpectIs7B(*config);
}

TEST(ModelConfig, FillsVisionFieldsThatTransformers449LeftOutWithTheClassDefaults) {
  const auto config = LoadText(Join({kTop, kTextFields, R"("rope_theta": 1000000.0,
      "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
      "vision_config": {"hidden_size": 1280, "in_chans": 3, "model_type": "qwen2_5_vl",
                        "spatial_patch_size": 14, "tokens_per_second": 2})"}));
  ASSERT_TRUE(config.ok()) << config.status();
  ExpectIs7B(*config);
  EXPECT_EQ(config->vision.head_dim(), 80);
}

// 4.52 to 4.57 write both; a fine-tuning tool may leave stale flat values behind.
TEST(ModelConfig, TextConfigWinsOverFlatFields) {
  const std::string stale =
      Replaced(kTextFields, "\"num_hidden_layers\": 28", "\"num_hidden_layers\": 99");
  const auto config = LoadText(Join({kTop, stale, kRope, kVision,
                                     std::string("\"text_config\": {") + kTextFields + ", " +
                                         kRope + ", \"torch_dtype\": \"bfloat16\"}"}));
  ASSERT_TRUE(config.ok()) << config.status();
  ExpectIs7B(*config);
}

TEST(ModelConfig, ReadsTheNestedLayoutOfTransformers5) {
  std::string top = Replaced(kTop, "\"torch_dtype\"", "\"dtype\"");
  top = Replaced(top, "\"eos_token_id\": 151645,", "");
  const auto config = LoadText(
      Join({top, kVision,
            std::string("\"text_config\": {") + kTextFields +
                R"(, "eos_token_id": 151645, "rope_parameters": {"mrope_section": [16, 24, 24],
            "rope_theta": 1000000.0, "rope_type": "default", "type": "mrope"}})"}));
  ASSERT_TRUE(config.ok()) << config.status();
  ExpectIs7B(*config);
}

// The class defaults of the nested text config are the 72B's sizes, with another epsilon.
TEST(ModelConfig, NestedTextFieldsLeftOutHaveTheClassDefaults) {
  const auto config =
      LoadText(Join({kTop, Replaced(kVision, "3584", "8192"),
                     R"("text_config": {"rope_parameters": {"mrope_section": [16, 24, 24]}})"}));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 8192);
  EXPECT_EQ(config->num_layers, 80);
  EXPECT_EQ(config->num_kv_heads, 8);
  EXPECT_EQ(config->rms_norm_eps, 1e-5f);
}

TEST(ModelConfig, ReadsYarn) {
  const auto config = LoadText(
      Replaced(Published(), R"("type": "mrope")",
               R"("type": "yarn", "factor": 4, "original_max_position_embeddings": 32768)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.yarn_factor, 4.0);
  EXPECT_EQ(config->rope.original_max_position_embeddings, 32768);
  EXPECT_EQ(config->rope.yarn_beta_fast, 32.0);
  EXPECT_EQ(config->rope.yarn_attention_factor, 0.0);
}

// Whoever follows Qwen's advice for long contexts writes rope_scaling, and leaves the rest.
TEST(ModelConfig, RopeScalingCountsMoreThanRopeParametersOfTheSameObject) {
  const std::string yarn = R"("rope_scaling": {"rope_type": "yarn", "factor": 4,
      "original_max_position_embeddings": 32768, "mrope_section": [16, 24, 24]})";
  const std::string usual = R"("rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0,
      "mrope_section": [16, 24, 24]})";
  const auto load = [&](const std::string& top, const std::string& text) {
    return LoadText(
        Join({kTop, kVision, top, "\"text_config\": {" + text + ", " + kTextFields + "}"}));
  };
  EXPECT_EQ(load("\"a\": 0", yarn + ", " + usual)->rope.yarn_factor, 4.0);
  EXPECT_EQ(load(yarn, usual)->rope.yarn_factor, 1.0);
  EXPECT_EQ(load(yarn, "\"a\": 0")->rope.yarn_factor, 4.0);
}

TEST(ModelConfig, ReadsGenerationDefaults) {
  const TempDirectory directory;
  directory.Write("config.json", Published());
  directory.Write("generation_config.json", R"({"do_sample": true, "temperature": 1e-06, "top_k": 1,
      "top_p": 0.001, "repetition_penalty": 1.05, "eos_token_id": [151645, 151643]})");
  const auto config = ModelConfig::Load(directory.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->generation.do_sample);
  EXPECT_EQ(config->generation.temperature, 1e-6f);
  EXPECT_EQ(config->generation.top_k, 1);
  EXPECT_EQ(config->generation.repetition_penalty, 1.05f);
  EXPECT_THAT(config->generation.eos_token_ids, ElementsAre(151645, 151643));
}

TEST(ModelConfig, ReadsPixelLimitsFromEveryFileThatHasThem) {
  const struct {
    const char* file;
    const char* text;
  } cases[] = {
      {"preprocessor_config.json",
       R"({"min_pixels": 784, "max_pixels": 100352, "patch_size": 14})"},
      {"preprocessor_config.json", R"({"size": {"shortest_edge": 784, "longest_edge": 100352}})"},
      {"preprocessor_config.json",
       R"({"size": {"shortest_edge": 1, "longest_edge": 2}, "min_pixels": 784, "max_pixels": 100352})"},
      {"processor_config.json",
       R"({"image_processor": {"size": {"shortest_edge": 784, "longest_edge": 100352}}})"},
  };
  for (const auto& c : cases) {
    const TempDirectory directory;
    directory.Write("config.json", Published());
    directory.Write(c.file, c.text);
    const auto config = ModelConfig::Load(directory.path());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->image_policy.min_pixels, 784) << c.text;
    EXPECT_EQ(config->image_policy.max_pixels, 100352) << c.text;
  }
}

// As where transformers 5 saved over published files, or one was copied beside its own.
TEST(ModelConfig, ANestedImageProcessorCountsMoreThanAFileBesideIt) {
  const TempDirectory directory;
  directory.Write("config.json", Published());
  directory.Write("preprocessor_config.json", R"({"min_pixels": 784, "max_pixels": 100352})");
  directory.Write("processor_config.json", R"({"processor_class": "Qwen2_5_VLProcessor"})");
  EXPECT_EQ(ModelConfig::Load(directory.path())->image_policy.max_pixels, 100352);
  directory.Write(
      "processor_config.json",
      R"({"image_processor": {"size": {"shortest_edge": 3136, "longest_edge": 50176}}})");
  EXPECT_EQ(ModelConfig::Load(directory.path())->image_policy.max_pixels, 50176);
}

// The published files name 12845056.
TEST(ModelConfig, PixelLimitsThatNoFileHasAreTheClassDefaults) {
  for (const char* text : {R"({"patch_size": 14})", R"({"size": null, "max_pixels": null})"}) {
    const TempDirectory directory;
    directory.Write("config.json", Published());
    directory.Write("preprocessor_config.json", text);
    const auto config = ModelConfig::Load(directory.path());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->image_policy.min_pixels, 56 * 56) << text;
    EXPECT_EQ(config->image_policy.max_pixels, 28 * 28 * 1280) << text;
  }
}

TEST(ModelConfig, PicturesPreparedInAnotherWayAreRefused) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {R"({"do_resize": false})", "field do_resize is false; expected true"},
      {R"({"do_rescale": false})", "field do_rescale is false; expected true"},
      {R"({"do_normalize": false})", "field do_normalize is false; expected true"},
      {R"({"resample": 2})", "field resample is 2; expected"},
      {R"({"rescale_factor": 0.0078431372549})", "rescale_factor is 7.8431372549E-3; expected"},
  };
  for (const auto& c : cases) {
    const TempDirectory directory;
    directory.Write("config.json", Published());
    directory.Write("preprocessor_config.json", c.text);
    EXPECT_THAT(ModelConfig::Load(directory.path()).status().message(), HasSubstr(c.message));
  }
}

TEST(ModelConfig, TheHeadIsTiedWhereEitherPlaceSaysSo) {
  const std::string tied = "\"tie_word_embeddings\": true",
                    apart = "\"tie_word_embeddings\": false";
  const auto load = [&](const std::string& top, const std::string& text) {
    return LoadText(Join({Replaced(kTop, apart, top), kVision,
                          "\"text_config\": {" + text + ", " + kTextFields + ", " + kRope + "}"}));
  };
  for (const auto& config : {load(apart, tied), load(tied, apart), load(tied, tied)}) {
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(config->tie_word_embeddings);
  }
  EXPECT_FALSE(load(apart, apart)->tie_word_embeddings);
}

TEST(ModelConfig, AMissingDirectoryIsNotFound) {
  const auto config = ModelConfig::Load("/nonexistent/model");
  EXPECT_EQ(config.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(config.status().message(), HasSubstr("/nonexistent/model/config.json"));
}

// Each message names the file, the field, what was found and what is allowed.
TEST(ModelConfig, RefusesWrongFieldsByName) {
  const struct {
    const char* from;
    const char* to;
    const char* message;
  } cases[] = {
      {"\"hidden_size\": 3584, ", "",
       "config.json: field hidden_size is missing; expected an integer from 1 to 1048576"},
      {"\"hidden_size\": 3584", "\"hidden_size\": \"wide\"",
       "config.json: field hidden_size is \"wide\"; expected an integer from 1 to 1048576"},
      {"\"num_hidden_layers\": 28", "\"num_hidden_layers\": 1000000000",
       "config.json: field num_hidden_layers is 1000000000; expected an integer from 1 to 1024"},
      {"\"num_attention_heads\": 28", "\"num_attention_heads\": 27",
       "field hidden_size is 3584; expected a multiple of num_attention_heads, 27"},
      {"\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3",
       "field num_key_value_heads is 3; expected a divisor of num_attention_heads, 28"},
      {"[16, 24, 24]", "[16, 24, 25]",
       "field rope_scaling.mrope_section is three numbers whose sum is 65; expected a sum of 64"},
      {"[16, 24, 24]", "[16, 48]",
       "field rope_scaling.mrope_section is [16,48]; expected a list of 3"},
      {"\"type\": \"mrope\"", "\"type\": \"longrope\"",
       "rope_scaling.type is \"longrope\"; expected"},
      {"\"vocab_size\": 152064", "\"vocab_size\": 0", "field vocab_size is 0; expected"},
      {"\"out_hidden_size\": 3584", "\"out_hidden_size\": 8192",
       "field vision_config.out_hidden_size is 8192; expected hidden_size of the text model, 3584"},
      {"\"model_type\": \"qwen2_5_vl\"", "\"model_type\": \"llama\"",
       "field model_type is \"llama\"; expected \"qwen2_5_vl\""},
      {"\"image_token_id\": 151655", "\"image_token_id\": 152064",
       "field image_token_id is 152064; expected an integer from 0 to 152063"},
      {"\"use_sliding_window\": false", "\"use_sliding_window\": true",
       "field use_sliding_window is true; expected false"},
      {"\"use_sliding_window\": false", R"("layer_types": ["full_attention", "sliding_attention"])",
       "field layer_types is [\"full_attention\",\"sliding_attention\"]; expected "
       "\"full_attention\""},
      {"\"hidden_act\": \"silu\"", "\"head_dim\": 64", "field head_dim is 64; expected"},
      {"\"in_chans\": 3", R"("rope_parameters": {"rope_type": "axial", "rope_theta": 500})",
       "field vision_config.rope_parameters.rope_theta is 500; expected"},
      {"\"torch_dtype\": \"bfloat16\"", "\"torch_dtype\": \"int8\"",
       "field torch_dtype is \"int8\"; expected \"bfloat16\""},
  };
  for (const auto& c : cases) {
    const auto config = LoadText(Replaced(Published(), c.from, c.to));
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << c.to;
    EXPECT_THAT(config.status().message(), HasSubstr(c.message));
  }
}

TEST(ModelConfig, RefusesWhatIsNoJsonObject) {
  for (const char* text : {"", "{", "[1]", "{} {}", "{\"a\": NaN}"}) {
    const auto config = LoadText(text);
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(config.status().message(), HasSubstr("config.json: ")) << text;
  }
}

}  // namespace
}  // namespace longhand
