#include "common/adapter/adapter_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "common/adapter/adapter_targets.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_adapter.h"

namespace longhand {
namespace {

using testing::AdapterOptions;
using ::testing::HasSubstr;
using testing::TestTensors;

constexpr int64_t kMaxRank = 16;

class AdapterFilesTest : public ::testing::Test {
 protected:
  Result<AdapterFiles> Open(const AdapterOptions& options, const TestTensors& tensors) const {
    testing::WriteAdapter(directory_.path(), options, tensors);
    return AdapterFiles::Open(directory_.path(), model_, kMaxRank);
  }
  Result<AdapterFiles> Open(const AdapterOptions& options = {}) const {
    return Open(options, testing::AdapterTensors(model_, options));
  }
  // That the adapter is refused, and what is said.
  std::string Refusal(const AdapterOptions& options, const TestTensors& tensors) const {
    const Result<AdapterFiles> files = Open(options, tensors);
    EXPECT_EQ(files.status().code(), StatusCode::kInvalidArgument) << files.status();
    return files.status().message();
  }
  std::string RefusalOf(const std::string& field) const {
    const AdapterOptions options{.more_fields = field};
    return Refusal(options, testing::AdapterTensors(model_, options));
  }

  const ModelConfig model_ = testing::TinyConfig();
  const testing::TempDirectory directory_;
};

TEST_F(AdapterFilesTest, OldAndNewNamesAreTheSameModules) {
  for (const bool nested : {false, true}) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      const Result<AdapterFiles> files = Open({.dtype = dtype, .nested_names = nested});
      ASSERT_TRUE(files.ok()) << files.status();
      EXPECT_TRUE(files->changes_images());
      EXPECT_EQ(files->scale(), 2.0f);
      for (const AdapterTarget& target : AdapterTargets(model_)) {
        const AdapterPair* pair = files->Find(target.module);
        ASSERT_NE(pair, nullptr) << target.module;
        EXPECT_EQ(pair->a.dtype, dtype);
        EXPECT_EQ(pair->a.columns, target.in_features);
        EXPECT_EQ(pair->b.rows, target.out_features);
      }
    }
  }
}

TEST_F(AdapterFilesTest, AnAdapterOfTheLanguageModelAloneLeavesPicturesAsTheyAre) {
  const Result<AdapterFiles> files =
      Open({.takes = [](const std::string& module) { return module.starts_with("model."); }});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE(files->changes_images());
  EXPECT_EQ(files->Find("visual.merger.mlp.0"), nullptr);
}

TEST_F(AdapterFilesTest, RankStabilisedScaleDividesByTheRoot) {
  const Result<AdapterFiles> files = Open({.more_fields = R"("use_rslora": true)"});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FLOAT_EQ(files->scale(), 8 / std::sqrt(4.0f));
}

TEST_F(AdapterFilesTest, WhatWouldBeAppliedOtherwiseIsRefusedByItsName) {
  for (const char* field :
       {"use_dora", "lora_bias", "fan_in_fan_out", "use_qalora", "some_new_switch"}) {
    EXPECT_THAT(RefusalOf('"' + std::string(field) + "\": true"), HasSubstr(field));
  }
  EXPECT_THAT(RefusalOf(R"("modules_to_save": ["lm_head"])"), HasSubstr("modules_to_save"));
  EXPECT_THAT(RefusalOf(R"("rank_pattern": {"q_proj": 2})"), HasSubstr("rank_pattern"));
  EXPECT_THAT(RefusalOf(R"("alpha_pattern": {"q_proj": 2})"), HasSubstr("alpha_pattern"));
  EXPECT_THAT(RefusalOf(R"("layers_to_transform": [0])"), HasSubstr("layers_to_transform"));
  EXPECT_THAT(RefusalOf(R"("bias": "all")"), HasSubstr("bias"));
  EXPECT_THAT(RefusalOf(R"("peft_type": "LOHA")"), HasSubstr("peft_type"));
  EXPECT_THAT(RefusalOf(R"("init_lora_weights": "pissa_niter_4")"), HasSubstr("pissa"));
  EXPECT_THAT(RefusalOf(R"("r": 0)"), HasSubstr("r is 0"));
  EXPECT_THAT(RefusalOf(R"("r": 17)"), HasSubstr("at most 16"));
  EXPECT_THAT(RefusalOf(R"("target_modules": [3])"), HasSubstr("target_modules"));
}

TEST_F(AdapterFilesTest, FieldsThatSayNothingAreAsGoodAsAbsent) {
  const Result<AdapterFiles> files =
      Open({.more_fields = R"("arrow_config": null, "corda_config": null, "some_new_field": null,
                         "other": {}, "third": false, "megatron_core": "megatron.core",
                         "lora_dropout": 0.1, "init_lora_weights": "gaussian")"});
  EXPECT_TRUE(files.ok()) << files.status();
}

TEST_F(AdapterFilesTest, UnknownTargetsAreNamed) {
  EXPECT_THAT(RefusalOf(R"("target_modules": ["q_proj", "lm_head"])"), HasSubstr("lm_head"));
  TestTensors tensors = testing::AdapterTensors(model_, {});
  const auto any = tensors.begin()->second;
  for (const char* name : {"base_model.model.lm_head", "base_model.model.model.embed_tokens",
                           "base_model.model.model.layers.7.self_attn.q_proj",
                           "base_model.model.visual.patch_embed.proj"}) {
    TestTensors more = tensors;
    more[std::string(name) + ".lora_A.weight"] = any;
    more[std::string(name) + ".lora_B.weight"] = any;
    EXPECT_THAT(Refusal({}, more), HasSubstr(std::string(name).substr(17)));
  }
  tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = any;
  EXPECT_THAT(Refusal({}, tensors), HasSubstr("lora_embedding_A"));
}

TEST_F(AdapterFilesTest, ATargetWithoutMatricesIsNamed) {
  const AdapterOptions options{
      .takes = [](const std::string& module) { return module != "model.layers.1.mlp.up_proj"; },
      .more_fields = R"("target_modules": ["q_proj", "up_proj"])"};
  EXPECT_THAT(Refusal(options, testing::AdapterTensors(model_, options)),
              HasSubstr("model.layers.1.mlp.up_proj"));
}

TEST_F(AdapterFilesTest, ShapesMustBeTheModels) {
  const std::string q = "base_model.model.model.language_model.layers.0.self_attn.q_proj";
  const TestTensors tensors = testing::AdapterTensors(model_, {});
  TestTensors wrong = tensors;
  wrong[q + ".lora_A.weight"] = tensors.at(q + ".lora_B.weight");
  EXPECT_THAT(Refusal({}, wrong), HasSubstr("lora_A of model.layers.0.self_attn.q_proj"));
  wrong = tensors;
  wrong.erase(q + ".lora_B.weight");
  EXPECT_THAT(Refusal({}, wrong), HasSubstr("has no lora_B"));
  wrong = tensors;
  wrong["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] =
      tensors.at(q + ".lora_A.weight");
  EXPECT_THAT(Refusal({}, wrong), HasSubstr("twice"));
  EXPECT_THAT(Refusal({}, {}), HasSubstr("no tensors"));
}

TEST_F(AdapterFilesTest, FilesThatAreMissingOrDamagedAreRefused) {
  EXPECT_EQ(AdapterFiles::Open(directory_.path(), model_, kMaxRank).status().code(),
            StatusCode::kNotFound);
  ASSERT_TRUE(Open().ok());
  std::string file;
  {
    std::ifstream in(directory_ / "adapter_model.safetensors", std::ios::binary);
    file.assign(std::istreambuf_iterator<char>(in), {});
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{200}, file.size() - 1}) {
    directory_.Write("adapter_model.safetensors", file.substr(0, size));
    const Status status = AdapterFiles::Open(directory_.path(), model_, kMaxRank).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << size << " bytes: " << status;
    EXPECT_THAT(status.message(), HasSubstr("adapter_model.safetensors"));
  }
  for (const char* config : {"", "[]", "{", R"({"r": "eight"})", R"({"peft_type": 3})"}) {
    directory_.Write("adapter_config.json", config);
    EXPECT_EQ(AdapterFiles::Open(directory_.path(), model_, kMaxRank).status().code(),
              StatusCode::kInvalidArgument)
        << config;
  }
}

}  // namespace
}  // namespace longhand
