// The image encoder's output is the recorded one, for every picture: square, narrow, ragged
// windows.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "tests/parity/backends.h"
#include "tests/parity/comparison.h"
#include "tests/parity/recording.h"
#include "worker/model/checkpoint.h"
#include "worker/model/vision_encoder.h"
#include "worker/model/weights.h"

namespace longhand::parity {
namespace {

class VisionParity : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = *config;
    const Result<model::Checkpoint> checkpoint = model::Checkpoint::Open(TestCheckpoint());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    Result<model::ModelWeights> weights =
        model::LoadWeights(*checkpoint, config_, 1, 0, DType::kF32, Quantization::kNone, *ops_, {});
    ASSERT_TRUE(weights.ok()) << weights.status();
    weights_ = std::move(weights).value();
    const int64_t max_patches = config_.image_policy.max_pixels / (14 * 14);
    Result<std::unique_ptr<model::VisionEncoder>> encoder = model::VisionEncoder::Create(
        config_, weights_.vision, ops_->ActivationDType(DType::kF32), max_patches, *ops_);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    encoder_ = std::move(encoder).value();
  }

  // [units, hidden_size]
  std::vector<float> Encode(const std::vector<uint8_t>& pixels, int64_t height, int64_t width) {
    const int64_t num_tokens = encoder_->NumTokens(height, width);
    Result<model::DeviceTensor> out =
        model::AllocateTensor(*ops_, DType::kF32, {num_tokens, config_.hidden_size});
    EXPECT_TRUE(out.ok()) << out.status();
    EXPECT_TRUE(encoder_->Begin(pixels.data(), height, width).ok());
    EXPECT_TRUE(encoder_->RunBlocks(0, config_.vision.depth).ok());
    EXPECT_TRUE(encoder_->Finish(out->view).ok());
    std::vector<float> embeddings(static_cast<size_t>(num_tokens * config_.hidden_size));
    EXPECT_TRUE(ops_->CopyToHost(embeddings.data(), out->view.data(), out->view.num_bytes()).ok());
    EXPECT_TRUE(ops_->Synchronize().ok());
    return embeddings;
  }

  const std::unique_ptr<kernels::Ops> ops_ = CreateOps(GetParam(), 1);
  ModelConfig config_;
  model::ModelWeights weights_;
  std::unique_ptr<model::VisionEncoder> encoder_;
};

TEST_P(VisionParity, EmbeddingsOfEveryPictureAreTheRecordedOnes) {
  const Recording& recording = TestRecording();
  for (const auto& image : recording.notes().at("images").as_object()) {
    const std::string key = "img/" + std::string(image.key()) + "/";
    SCOPED_TRACE(key);
    const std::vector<int64_t>& shape = recording.Shape(key + "resized");
    const std::vector<float> actual = Encode(recording.Bytes(key + "resized"), shape[0], shape[1]);
    EXPECT_TRUE(IsNear(recording.Floats(key + "embeds"), actual, kFp32));
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, VisionParity, kBackends, BackendName);

}  // namespace
}  // namespace longhand::parity
