// Pictures become the reference's bytes: decoded, turned upright, on white, resized, cut into
// patches.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "coordinator/input/image_decoder.h"
#include "coordinator/input/resize.h"
#include "coordinator/input/smart_resize.h"
#include "kernels/ops.h"
#include "tests/parity/recording.h"

namespace longhand::parity {
namespace {

using input::RgbImage;

constexpr int32_t kFactor = 28;  // pixels of a merged patch

std::vector<std::string> ImageFiles() {
  std::vector<std::string> files;
  for (const auto& entry : TestRecording().notes().at("images").as_object()) {
    files.emplace_back(entry.key());
  }
  return files;
}

RgbImage Decode(const std::string& file) {
  std::ifstream in(TestRecording().ImagePath(file), std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  Result<RgbImage> image = input::DecodeImage(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, input::ImageLimits{});
  EXPECT_TRUE(image.ok()) << file << ": " << image.status();
  return image.ok() ? *image : RgbImage::Filled(kFactor, kFactor, 0);
}

// How many bytes differ, and by how much at most: what a reader needs to see a decoder's fault.
testing::AssertionResult SameBytes(const std::vector<uint8_t>& expected,
                                   const RgbImage& image,
                                   const std::vector<int64_t>& shape) {
  if (std::vector<int64_t>{image.height, image.width, 3} != shape) {
    return testing::AssertionFailure() << image.height << " x " << image.width << ", recorded "
                                       << shape[0] << " x " << shape[1];
  }
  int64_t num_different = 0;
  int largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const int difference = std::abs(int{expected[i]} - int{image.pixels[i]});
    num_different += difference != 0;
    largest = std::max(largest, difference);
  }
  if (num_different == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << num_different << " of " << expected.size()
                                     << " bytes differ, by " << largest << " at most";
}

RgbImage ResizedAsRecorded(const std::string& file) {
  const std::vector<int64_t>& shape = TestRecording().Shape("img/" + file + "/resized");
  return input::Resize(Decode(file),
                       {static_cast<int32_t>(shape[0]), static_cast<int32_t>(shape[1])});
}

TEST(ImageParity, DecodedPixelsAreTheRecordedOnes) {
  const Recording& recording = TestRecording();
  int num_compared = 0;
  for (const std::string& file : ImageFiles()) {
    const std::string name = "img/" + file + "/rgb";
    if (!recording.Has(name)) continue;  // A large one: its resized form is recorded.
    EXPECT_TRUE(SameBytes(recording.Bytes(name), Decode(file), recording.Shape(name))) << file;
    ++num_compared;
  }
  EXPECT_GE(num_compared, 10);
}

TEST(ImageParity, ResizedPixelsAreTheRecordedOnes) {
  const Recording& recording = TestRecording();
  const Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
  ASSERT_TRUE(config.ok()) << config.status();
  for (const std::string& file : ImageFiles()) {
    SCOPED_TRACE(file);
    const RgbImage image = Decode(file);
    const Result<input::ImageSize> size =
        input::SmartResize(image.height, image.width, kFactor, config->image_policy.min_pixels,
                           config->image_policy.max_pixels);
    ASSERT_TRUE(size.ok()) << size.status();
    const std::string name = "img/" + file + "/resized";
    EXPECT_TRUE(
        SameBytes(recording.Bytes(name), input::Resize(image, *size), recording.Shape(name)));
  }
}

TEST(ImageParity, SizesFollowTheRecordedTable) {
  const std::vector<int32_t> table = TestRecording().Ints("smart_resize");
  for (size_t row = 0; row < table.size(); row += 6) {
    const int32_t* r = &table[row];
    SCOPED_TRACE(testing::Message() << r[0] << " x " << r[1] << " within " << r[2] << ".." << r[3]);
    const Result<input::ImageSize> size = input::SmartResize(r[0], r[1], kFactor, r[2], r[3]);
    ASSERT_EQ(size.ok(), r[4] >= 0) << size.status();
    if (!size.ok()) {
      EXPECT_EQ(size.status().code(), StatusCode::kInvalidArgument);
      continue;
    }
    EXPECT_EQ(*size, (input::ImageSize{r[4], r[5]}));
  }
}

TEST(ImageParity, PixelValuesAreTheRecordedOnes) {
  const Recording& recording = TestRecording();
  const Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
  ASSERT_TRUE(config.ok()) << config.status();
  const ImagePolicy& policy = config->image_policy;
  const std::unique_ptr<kernels::Ops> ops = kernels::CreateReferenceOps();
  for (const std::string& file : ImageFiles()) {
    SCOPED_TRACE(file);
    RgbImage image = ResizedAsRecorded(file);
    const int64_t num_patches = int64_t{image.height} * image.width / (14 * 14);
    const int64_t patch_dim = config->vision.patch_dim();
    std::vector<float> rows(static_cast<size_t>(num_patches * patch_dim));
    kernels::PatchifyArgs args = {
        .pixels = {image.pixels.data(), DType::kU8, {image.height, image.width, 3}},
        .out = {rows.data(), DType::kF32, {num_patches, patch_dim}}};
    std::copy_n(policy.mean, 3, args.mean);
    std::copy_n(policy.std, 3, args.std);
    ASSERT_TRUE(ops->Patchify(args).ok());
    ASSERT_TRUE(ops->Synchronize().ok());

    const std::vector<float> expected = recording.Floats("img/" + file + "/pixel_values");
    size_t next = 0;
    for (const int32_t row : recording.Ints("img/" + file + "/rows")) {
      for (int64_t i = 0; i < patch_dim; ++i) {
        ASSERT_NEAR(rows[static_cast<size_t>(row * patch_dim + i)], expected[next++], 1e-5)
            << "row " << row << ", value " << i;
      }
    }
    EXPECT_EQ(next, expected.size());
  }
}

}  // namespace
}  // namespace longhand::parity
