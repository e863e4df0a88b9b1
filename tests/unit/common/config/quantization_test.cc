#include "common/config/quantization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/config/model_config.h"
#include "tests/testing/temp_directory.h"

namespace longhand {
namespace {

using ::testing::HasSubstr;

constexpr CheckpointQuantization kPlain;
constexpr CheckpointQuantization kAwq = {Quantization::kAwq, 128};
constexpr CheckpointQuantization kFp8 = {Quantization::kFp8, 128};

TEST(Quantization, AutoIsWhatTheCheckpointHas) {
  EXPECT_EQ(*ChooseQuantization("auto", kPlain), Quantization::kNone);
  EXPECT_EQ(*ChooseQuantization("auto", kAwq), Quantization::kAwq);
  EXPECT_EQ(*ChooseQuantization("auto", kFp8), Quantization::kFp8);
  EXPECT_EQ(*ChooseQuantization("awq", kAwq), Quantization::kAwq);
  for (const char* name : {"none", "int8", "fp8"}) {
    EXPECT_EQ(QuantizationName(*ChooseQuantization(name, kPlain)), name);
  }
}

TEST(Quantization, WhatACheckpointCannotBeLoadedAsIsRefused) {
  EXPECT_EQ(ChooseQuantization("awq", kPlain).status().message(),
            "--quantization is awq; the checkpoint's weights are not (config.json has no "
            "quantization_config), so it must be auto, none, int8 or fp8");
  EXPECT_EQ(ChooseQuantization("none", kAwq).status().message(),
            "--quantization is none; the checkpoint's weights are awq already, so it must be auto "
            "or awq");
  EXPECT_FALSE(ChooseQuantization("fp8", kAwq).ok());
  EXPECT_FALSE(ChooseQuantization("int8", kFp8).ok());
  EXPECT_THAT(ChooseQuantization("int4", kPlain).status().message(), HasSubstr("'int4'"));
}

TEST(Quantization, DevicesHaveKernelsOfTheirOwn) {
  for (const Quantization any :
       {Quantization::kNone, Quantization::kInt8, Quantization::kFp8, Quantization::kAwq}) {
    EXPECT_TRUE(CheckDeviceQuantizes("cpu", DType::kF32, any).ok());
  }
  EXPECT_TRUE(CheckDeviceQuantizes("cuda", DType::kBf16, Quantization::kFp8).ok());
  EXPECT_EQ(CheckDeviceQuantizes("cuda", DType::kBf16, Quantization::kInt8).message(),
            "--quantization is int8; on --device cuda it must be auto, none, fp8 or awq");
  EXPECT_EQ(CheckDeviceQuantizes("emulated", DType::kF32, Quantization::kAwq).message(),
            "--dtype is float32; with --quantization awq on --device emulated it must be bfloat16");
}

// A model of two heads of 16, as small as a config can be.
Result<ModelConfig> LoadWith(const std::string& quantization) {
  const testing::TempDirectory directory;
  directory.Write("config.json", R"({"model_type": "qwen2_5_vl", "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-06, "image_token_id": 1,
    "video_token_id": 2, "vision_start_token_id": 3,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    "vision_config": {"out_hidden_size": 32}, "quantization_config": )" +
                                     quantization + "}");
  return ModelConfig::Load(directory.path());
}

TEST(Quantization, AwqIsReadFromConfigJson) {
  const auto config = LoadWith(R"({"bits": 4, "group_size": 128, "zero_point": true,
    "modules_to_not_convert": ["visual"], "quant_method": "awq", "version": "gemm"})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->quantization.method, Quantization::kAwq);
  EXPECT_EQ(config->quantization.group_size, 128);
}

TEST(Quantization, Fp8WithDynamicRowsIsReadFromConfigJson) {
  const auto config = LoadWith(R"({"quant_method": "compressed-tensors",
    "format": "float-quantized", "ignore": ["lm_head"], "config_groups": {"group_0": {
      "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel",
      "symmetric": true, "dynamic": false}, "input_activations": {"num_bits": 8, "type": "float",
      "strategy": "token", "dynamic": true}}}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->quantization.method, Quantization::kFp8);
}

TEST(Quantization, OtherFormatsAreRefusedByField) {
  const auto message = [](const std::string& quantization) {
    return LoadWith(quantization).status().message();
  };
  EXPECT_THAT(message(R"({"quant_method": "gptq"})"), HasSubstr("quant_method"));
  EXPECT_THAT(message(R"({"bits": 4})"), HasSubstr("quant_method"));
  EXPECT_THAT(message(R"({"quant_method": "awq", "bits": 8, "group_size": 128})"),
              HasSubstr("quantization_config.bits"));
  EXPECT_THAT(message(R"({"quant_method": "awq", "bits": 4, "group_size": 96})"),
              HasSubstr("a multiple of 64"));
  EXPECT_THAT(message(R"({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemv"})"),
              HasSubstr("version"));
  EXPECT_THAT(message(R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})"),
              HasSubstr("format"));
  EXPECT_THAT(message(R"({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
      "weights": {"num_bits": 8, "type": "float", "strategy": "block"}, "input_activations":
      {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}}}})"),
              HasSubstr("strategy"));
}

TEST(Quantization, GroupsThatAShardCutsAreHalved) {
  EXPECT_EQ(ShardGroupSize({256, 512}, 128), 128);
  EXPECT_EQ(ShardGroupSize({192, 384}, 128), 64);
  EXPECT_EQ(ShardGroupSize({0, 192}, 128), 64);
}

}  // namespace
}  // namespace longhand
