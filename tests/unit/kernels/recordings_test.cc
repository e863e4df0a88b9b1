// What recordings forbid as long as they are kept, and no longer.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/bf16.h"
#include "kernels/cuda/cuda_ops.h"

namespace longhand::kernels {
namespace {

// A weight so wide is summed in parts, which meet in a workspace.
constexpr int64_t kWide = 2048;

class RecordingsTest : public ::testing::Test {
 protected:
  explicit RecordingsTest(const EmulationOptions& options = {})
      : ops_(CreateEmulatedOps(options).value()) {}
  Result<std::unique_ptr<PackedLinear>> Pack(int64_t in_features) {
    return ops_->PackLinear(TensorView(elements_.data(), DType::kBf16, {kOut, in_features}));
  }
  Status PackFp8() {
    std::vector<uint8_t> codes(kOut * kWide);
    std::vector<float> scales(kOut);
    return ops_
        ->PackQuantized({.codes = TensorView(codes.data(), DType::kF8E4M3, {kOut, kWide}),
                         .scales = TensorView(scales.data(), DType::kF32, {kOut}),
                         .zeros = {}})
        .status();
  }
  std::unique_ptr<Recording> Record(const PackedLinear& weight) {
    const LinearArgs args{.x = TensorView(x_->data(), DType::kBf16, {1, weight.in_features()}),
                          .weight = &weight,
                          .out = TensorView(out_->data(), DType::kBf16, {1, kOut})};
    auto recording = ops_->Record([&] { return ops_->Linear(args); });
    EXPECT_TRUE(recording.ok()) << recording.status();
    return std::move(recording).value();
  }

  static constexpr int64_t kOut = 32;
  const std::unique_ptr<CudaOps> ops_;
  std::vector<Bf16> elements_ = std::vector<Bf16>(kOut * kWide);
  const std::unique_ptr<Buffer> x_ = ops_->Allocate(kWide * sizeof(Bf16)).value();
  const std::unique_ptr<Buffer> out_ = ops_->Allocate(kOut * sizeof(Bf16)).value();
};

// As a worker does that is told to serve another model.
TEST_F(RecordingsTest, AWiderWeightComesOnceTheyAreGone) {
  const auto narrow = Pack(64).value();
  std::unique_ptr<Recording> recording = Record(*narrow);
  EXPECT_EQ(Pack(kWide).status().code(), StatusCode::kInternal);
  recording.reset();
  const auto wide = Pack(kWide);
  ASSERT_TRUE(wide.ok()) << wide.status();
  recording = Record(**wide);
  EXPECT_EQ(ops_->Replay(*recording), OkStatus());
}

class RecordingsOfWgmmaTest : public RecordingsTest {
 protected:
  RecordingsOfWgmmaTest() : RecordingsTest({.schedule_seed = 3}) {}
};

// The same where there was no memory: one load that failed does not cost later ones their kernels.
TEST_F(RecordingsOfWgmmaTest, AFormatThatHadNoWorkspaceIsTriedWithTheNextWeight) {
  const auto wide = Pack(kWide).value();
  std::unique_ptr<Recording> recording = Record(*wide);
  EXPECT_EQ(PackFp8().code(), StatusCode::kInternal);
  recording.reset();
  EXPECT_EQ(PackFp8(), OkStatus());
  EXPECT_NE(ops_->TrialResults().find("Linear in fp8"), std::string::npos) << ops_->TrialResults();
}

}  // namespace
}  // namespace longhand::kernels
