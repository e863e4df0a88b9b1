// Real pictures are compared with the reference in tests/parity; here with the definition, in
// doubles, at odd sizes.
#include "coordinator/input/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace longhand::input {
namespace {

constexpr uint32_t kSeed = 7;

RgbImage Noise(int32_t height, int32_t width) {
  RgbImage image = RgbImage::Filled(height, width, 0);
  std::mt19937 random(kSeed);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random());
  return image;
}

// Weight of input position `in` in output position `out`, not normalised, not quantised.
double Weight(int64_t in, int64_t out, double scale) {
  const double stretch = std::max(scale, 1.0);
  const double x = std::abs((in + 0.5 - (out + 0.5) * scale) / stretch);
  if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
  if (x < 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
  return 0;
}

// One axis of [outer, num_in, inner] resampled to num_out.
std::vector<double> Resample(const std::vector<double>& values,
                             int64_t outer,
                             int64_t num_in,
                             int64_t inner,
                             int64_t num_out) {
  std::vector<double> result(outer * num_out * inner, 0.0);
  const double scale = static_cast<double>(num_in) / static_cast<double>(num_out);
  for (int64_t o = 0; o < num_out; ++o) {
    double sum = 0;
    for (int64_t i = 0; i < num_in; ++i) sum += Weight(i, o, scale);
    for (int64_t i = 0; i < num_in; ++i) {
      const double weight = Weight(i, o, scale) / sum;
      for (int64_t a = 0; a < outer; ++a) {
        for (int64_t b = 0; b < inner; ++b) {
          result[(a * num_out + o) * inner + b] += weight * values[(a * num_in + i) * inner + b];
        }
      }
    }
  }
  for (double& value : result) value = std::clamp(std::floor(value + 0.5), 0.0, 255.0);
  return result;
}

TEST(Resize, IsWithinOneLevelAPassOfTheDefinitionInDoubles) {
  // Up, down, one axis only, a single pixel, sizes that end a block of rows or a strip of columns
  // in its middle.
  const std::vector<std::vector<int32_t>> shapes = {
      {5, 3, 84, 56},   {1, 1, 56, 56},   {37, 53, 28, 28}, {17, 100, 28, 28},
      {40, 31, 40, 56}, {40, 31, 84, 31}, {200, 9, 28, 28}, {9, 200, 112, 28},
  };
  for (const std::vector<int32_t>& s : shapes) {
    SCOPED_TRACE(testing::Message()
                 << s[0] << " x " << s[1] << " to " << s[2] << " x " << s[3] << ", seed " << kSeed);
    const RgbImage image = Noise(s[0], s[1]);
    std::vector<double> expected(image.pixels.begin(), image.pixels.end());
    if (s[3] != s[1]) expected = Resample(expected, s[0], s[1], 3, s[3]);
    if (s[2] != s[0]) expected = Resample(expected, 1, s[0], int64_t{s[3]} * 3, s[2]);
    const RgbImage actual = Resize(image, {s[2], s[3]});
    ASSERT_EQ(actual.height, s[2]);
    ASSERT_EQ(actual.width, s[3]);
    ASSERT_EQ(actual.pixels.size(), expected.size());
    // Weights of 15 bits move a sum across a rounding boundary now and then, by one level.
    const int num_passes = (s[2] != s[0]) + (s[3] != s[1]);
    int64_t num_different = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = std::abs(expected[i] - actual.pixels[i]);
      ASSERT_LE(difference, num_passes) << "byte " << i;
      num_different += difference != 0;
    }
    EXPECT_LE(num_different, static_cast<int64_t>(expected.size()) / 20 + 1);
  }
}

TEST(Resize, TheSameSizeIsTheSamePicture) {
  const RgbImage image = Noise(28, 56);
  EXPECT_TRUE(Resize(image, {28, 56}).pixels == image.pixels);
}

// Overshoot at a hard edge must stop at black and white, not wrap round.
TEST(Resize, AHardEdgeIsClamped) {
  RgbImage image = RgbImage::Filled(4, 8, 0);
  for (int32_t y = 0; y < 4; ++y) std::fill_n(&image.pixels[(y * 8 + 4) * 3], 12, 255);
  const RgbImage large = Resize(image, {28, 56});
  for (int32_t x = 0; x < 56; ++x) {
    const int value = large.pixels[x * 3];
    if (x < 20) {
      EXPECT_LT(value, 40) << x;
    } else if (x >= 36) {
      EXPECT_GT(value, 215) << x;
    }
  }
}

}  // namespace
}  // namespace longhand::input
