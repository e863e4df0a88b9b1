#include "worker/model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"

namespace longhand::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDirectory;
using testing::TestTensors;
using testing::WriteSafetensors;

TestTensors Two() {
  return {{"model.norm.weight", {DType::kF32, {2}, std::string(8, '\1')}},
          {"visual.blocks.0.norm1.weight", {DType::kBf16, {3, 2}, std::string(12, '\2')}}};
}

TEST(Checkpoint, OneFileGivesItsTensors) {
  const TempDirectory directory;
  WriteSafetensors(directory / "model.safetensors", Two());
  const auto checkpoint = Checkpoint::Open(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointTensor* tensor = checkpoint->Find("visual.blocks.0.norm1.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->dtype, DType::kBf16);
  EXPECT_THAT(tensor->shape, ElementsAre(3, 2));
  EXPECT_EQ(std::string(tensor->data, tensor->num_bytes), std::string(12, '\2'));
  EXPECT_EQ(checkpoint->Find("model.other"), nullptr);
  // Released pages are read again when they are needed.
  checkpoint->Release(*tensor);
  EXPECT_EQ(std::string(tensor->data, tensor->num_bytes), std::string(12, '\2'));
}

TEST(Checkpoint, NestedNamesBecomeThePublishedOnes) {
  const TempDirectory directory;
  TestTensors tensors;
  for (const auto& [name, tensor] : Two()) {
    const bool text = name.starts_with("model.");
    tensors[text ? "model.language_model." + name.substr(6) : "model." + name] = tensor;
  }
  WriteSafetensors(directory / "model.safetensors", tensors);
  const auto checkpoint = Checkpoint::Open(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_NE(checkpoint->Find("model.norm.weight"), nullptr);
  const CheckpointTensor* tensor = checkpoint->Find("visual.blocks.0.norm1.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->name_in_file, "model.visual.blocks.0.norm1.weight");
}

class ShardedCheckpoint : public ::testing::Test {
 protected:
  ShardedCheckpoint() {
    const TestTensors all = Two();
    WriteSafetensors(directory_ / "a.safetensors", {*all.begin()});
    WriteSafetensors(directory_ / "b.safetensors", {*all.rbegin()});
  }
  Status OpenWithIndex(const std::string& weight_map) {
    directory_.Write("model.safetensors.index.json", "{\"weight_map\": " + weight_map + "}");
    return Checkpoint::Open(directory_.path()).status();
  }

  const TempDirectory directory_;
};

TEST_F(ShardedCheckpoint, TheIndexNamesTheFiles) {
  EXPECT_EQ(OpenWithIndex(R"({"model.norm.weight": "a.safetensors",
                              "visual.blocks.0.norm1.weight": "b.safetensors"})"),
            OkStatus());
}

// As where a merged model was saved over a sharded one.
TEST_F(ShardedCheckpoint, AWholeFileCountsMoreThanAnIndexBesideIt) {
  WriteSafetensors(directory_ / "model.safetensors", Two());
  directory_.Write("model.safetensors.index.json",
                   R"({"weight_map": {"model.norm.weight": "a.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(directory_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("model.norm.weight")->file, "model.safetensors");
  EXPECT_EQ(checkpoint->tensors().size(), 2u);
}

TEST_F(ShardedCheckpoint, AnIndexThatDisagreesWithItsFilesIsRefused) {
  EXPECT_THAT(OpenWithIndex(R"({"model.norm.weight": "a.safetensors",
                                "visual.blocks.0.norm1.weight": "a.safetensors"})")
                  .message(),
              HasSubstr("model.safetensors.index.json: tensor visual.blocks.0.norm1.weight should "
                        "be in a.safetensors; it is in no file"));
  EXPECT_THAT(OpenWithIndex(R"({"model.norm.weight": "b.safetensors",
                                "visual.blocks.0.norm1.weight": "a.safetensors"})")
                  .message(),
              HasSubstr("model.norm.weight should be in b.safetensors; it is in a.safetensors"));
}

TEST_F(ShardedCheckpoint, AFileOfTheIndexThatIsMissingIsNamed) {
  const Status status = OpenWithIndex(R"({"model.norm.weight": "c.safetensors"})");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("c.safetensors"));
}

TEST_F(ShardedCheckpoint, AnIndexCannotReachOutOfItsDirectory) {
  for (const char* file : {"../a.safetensors", "/etc/passwd", "..", ""}) {
    const Status status = OpenWithIndex(std::string(R"({"model.norm.weight": ")") + file + "\"}");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(status.message(), HasSubstr("expected the name of a file in the same directory"));
  }
}

TEST_F(ShardedCheckpoint, AnIndexWithoutAMapIsRefused) {
  for (const char* map : {"{}", "[]", "3"}) {
    EXPECT_THAT(OpenWithIndex(map).message(), HasSubstr("field weight_map is missing")) << map;
  }
}

TEST_F(ShardedCheckpoint, ATensorInTwoFilesIsRefused) {
  WriteSafetensors(directory_ / "b.safetensors", Two());
  EXPECT_EQ(OpenWithIndex(R"({"model.norm.weight": "a.safetensors",
                              "visual.blocks.0.norm1.weight": "b.safetensors"})")
                .message(),
            "b.safetensors: tensor model.norm.weight is already in a.safetensors as "
            "model.norm.weight");
}

TEST(Checkpoint, AnEmptyDirectoryHasNoCheckpoint) {
  const TempDirectory directory;
  const Status status = Checkpoint::Open(directory.path()).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(),
              HasSubstr("neither model.safetensors nor model.safetensors.index.json in "));
}

TEST(Checkpoint, DamagedFilesAreRefusedByName) {
  const TempDirectory directory;
  const auto file = directory / "model.safetensors";
  WriteSafetensors(file, Two());
  const auto size = std::filesystem::file_size(file);
  for (const auto left : {size - 1, size - 12, uintmax_t{20}, uintmax_t{7}, uintmax_t{0}}) {
    std::filesystem::resize_file(file, left);
    const Status status = Checkpoint::Open(directory.path()).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << left;
    EXPECT_THAT(status.message(), HasSubstr("model.safetensors: ")) << left;
  }
  directory.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 1\n");
  EXPECT_THAT(Checkpoint::Open(directory.path()).status().message(),
              HasSubstr("model.safetensors: 50 bytes that point at the file in Git LFS"));
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  EXPECT_EQ(Checkpoint::Open(directory.path()).status().code(), StatusCode::kInvalidArgument);
}

TEST(Checkpoint, OtherDtypesAreRefused) {
  const TempDirectory directory;
  const std::string header =
      R"({"model.norm.weight": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  directory.Write("model.safetensors", file + header + "12345678");
  EXPECT_EQ(Checkpoint::Open(directory.path()).status().message(),
            "model.safetensors: tensor model.norm.weight is I64; expected BF16, F16, F32, or in a "
            "quantised checkpoint I32 or F8_E4M3");
}

}  // namespace
}  // namespace longhand::model
