#include "worker/model/tensor_specs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"

namespace longhand::model {
namespace {

using ::testing::HasSubstr;
using testing::RandomTensors;
using testing::TempDirectory;
using testing::TestTensors;
using testing::TinyConfig;

Status Check(const TestTensors& tensors, const ModelConfig& config = TinyConfig()) {
  const TempDirectory directory;
  WriteSafetensors(directory / "model.safetensors", tensors);
  auto checkpoint = Checkpoint::Open(directory.path());
  LONGHAND_CHECK(checkpoint.ok()) << checkpoint.status();
  return CheckTensors(*checkpoint, config);
}

TEST(CheckTensors, ACompleteCheckpointPasses) {
  EXPECT_EQ(Check(RandomTensors(TinyConfig(), /*seed=*/1)), OkStatus());
}

TEST(CheckTensors, AMissingTensorIsNamedWithTheExpectedShape) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/1);
  tensors.erase("model.layers.1.mlp.down_proj.weight");
  EXPECT_THAT(Check(tensors).message(),
              HasSubstr("has no tensor model.layers.1.mlp.down_proj.weight; expected one of shape "
                        "[64, 48]"));
}

TEST(CheckTensors, AMissingHeadPointsAtTheTie) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/1);
  tensors.erase("lm_head.weight");
  EXPECT_THAT(Check(tensors).message(),
              HasSubstr("as tie_word_embeddings is false in config.json"));
  ModelConfig tied = TinyConfig();
  tied.tie_word_embeddings = true;
  EXPECT_EQ(Check(tensors, tied), OkStatus());
}

TEST(CheckTensors, AWrongShapeIsShownBesideTheExpectedOne) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/1);
  tensors["model.layers.0.self_attn.k_proj.weight"].shape = {64, 32};
  EXPECT_EQ(Check(tensors).message(),
            "model.safetensors: tensor model.layers.0.self_attn.k_proj.weight is bfloat16[64, 32]; "
            "expected the shape [32, 64] that config.json asks for");
}

TEST(CheckTensors, ATensorOfNoPartOfTheModelIsRefused) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/1);
  tensors["model.layers.2.mlp.down_proj.weight"] = tensors["model.norm.weight"];
  EXPECT_THAT(Check(tensors).message(),
              HasSubstr("tensor model.layers.2.mlp.down_proj.weight bfloat16[64] belongs to no "
                        "part of the model"));
}

TEST(CheckTensors, ComputedTablesAreIgnored) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/1);
  tensors["model.rotary_emb.inv_freq"] = tensors["model.norm.weight"];
  EXPECT_EQ(Check(tensors), OkStatus());
}

}  // namespace
}  // namespace longhand::model
