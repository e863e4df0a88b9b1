#include "coordinator/input/resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/check.h"

namespace longhand::input {
namespace {

// The input positions [first, first + count) that output position i is made of, and their weights.
struct Window {
  int64_t first = 0;
  int64_t count = 0;
};

struct Axis {
  std::vector<Window> windows;   // [out]
  std::vector<int16_t> weights;  // [out, max_count], in units of 2^-precision; they sum to about 1
  int64_t max_count = 0;
  int precision = 0;
};

// The cubic convolution kernel with a = -0.5. Source: Keys, 1981.
double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return -0.5 * (((x - 5) * x + 8) * x - 4);
  return 0;
}

// As many fraction bits as the largest weight leaves room for in an int16.
int ChoosePrecision(double largest) {
  constexpr int kMaxPrecision = 22;
  int precision = 0;
  while (precision < kMaxPrecision &&
         largest * static_cast<double>(int64_t{2} << precision) + 0.5 < 32768.0) {
    ++precision;
  }
  return precision;
}

// Each operation and its order are the reference's: a weight's last bit decides a pixel's.
Axis MakeAxis(int64_t num_in, int64_t num_out) {
  const double scale = static_cast<double>(num_in) / static_cast<double>(num_out);
  const double stretch = std::max(scale, 1.0);
  const double inverse = 1.0 / stretch;
  const double reach = 2.0 * stretch;
  Axis axis;
  axis.windows.resize(num_out);
  axis.max_count = static_cast<int64_t>(std::ceil(reach)) * 2 + 1;
  std::vector<double> weights(num_out * axis.max_count, 0.0);
  for (int64_t i = 0; i < num_out; ++i) {
    const double center = scale * (static_cast<double>(i) + 0.5);
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - reach + 0.5), 0);
    const int64_t last = std::min<int64_t>(static_cast<int64_t>(center + reach + 0.5), num_in);
    const int64_t count = std::min(last - first, axis.max_count);
    double* row = &weights[i * axis.max_count];
    double sum = 0;
    for (int64_t j = 0; j < count; ++j) {
      row[j] = Cubic((static_cast<double>(j + first) - center + 0.5) * inverse);
      sum += row[j];
    }
    if (sum != 0) {
      for (int64_t j = 0; j < count; ++j) row[j] /= sum;
    }
    axis.windows[i] = {first, count};
  }
  axis.precision = ChoosePrecision(*std::max_element(weights.begin(), weights.end()));
  const double unit = static_cast<double>(int64_t{1} << axis.precision);
  axis.weights.resize(weights.size());
  std::transform(weights.begin(), weights.end(), axis.weights.begin(), [unit](double w) {
    return static_cast<int16_t>(
        static_cast<int>(w < 0 ? w * unit - 0.5 : w * unit + 0.5));  // half away from 0
  });
  return axis;
}

uint8_t RoundAndClamp(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255));
}

// Half a unit, so that the shift rounds.
int32_t HalfUnit(int precision) { return precision > 0 ? 1 << (precision - 1) : 0; }

// out[y, x] = sum over window k of x: weight[x, k] * in[y, k]. A block of rows is turned so that
// the lanes of the inner loop (channel, row) lie side by side and share a weight: that is what the
// compiler makes vectors of.
RgbImage ResizeColumns(const RgbImage& in, int32_t width) {
  constexpr int kRows = 8;  // 24 sums: six SSE registers
  constexpr int kLanes = 3 * kRows;
  const Axis axis = MakeAxis(in.width, width);
  RgbImage out = RgbImage::Filled(in.height, width, 0);
  std::vector<int16_t> block(static_cast<size_t>(in.width) * kLanes, 0);  // [in.width, 3, kRows]
  for (int64_t top = 0; top < in.height; top += kRows) {
    const int num_rows = static_cast<int>(std::min<int64_t>(kRows, in.height - top));
    for (int r = 0; r < num_rows; ++r) {
      const uint8_t* row = &in.pixels[(top + r) * in.width * 3];
      for (int64_t i = 0; i < int64_t{in.width} * 3; ++i) block[i * kRows + r] = row[i];
    }
    for (int64_t x = 0; x < width; ++x) {
      const auto [first, count] = axis.windows[x];
      const int16_t* weights = &axis.weights[x * axis.max_count];
      int32_t sums[kLanes];
      std::fill(std::begin(sums), std::end(sums), HalfUnit(axis.precision));
      for (int64_t k = 0; k < count; ++k) {
        const int16_t* lanes = &block[(first + k) * kLanes];
        const int16_t weight = weights[k];
        for (int lane = 0; lane < kLanes; ++lane) sums[lane] += weight * lanes[lane];
      }
      for (int r = 0; r < num_rows; ++r) {
        uint8_t* pixel = &out.pixels[((top + r) * width + x) * 3];
        for (int c = 0; c < 3; ++c) pixel[c] = RoundAndClamp(sums[c * kRows + r], axis.precision);
      }
    }
  }
  return out;
}

// out[y] = sum over window k of y: weight[y, k] * in[k], a strip of columns at a time.
RgbImage ResizeRows(const RgbImage& in, int32_t height) {
  constexpr int64_t kStrip = 32;
  const Axis axis = MakeAxis(in.height, height);
  const int64_t row_bytes = int64_t{in.width} * 3;
  RgbImage out = RgbImage::Filled(height, in.width, 0);
  for (int64_t y = 0; y < height; ++y) {
    const auto [first, count] = axis.windows[y];
    const int16_t* weights = &axis.weights[y * axis.max_count];
    for (int64_t left = 0; left < row_bytes; left += kStrip) {
      const int num_lanes = static_cast<int>(std::min(kStrip, row_bytes - left));
      int32_t sums[kStrip];
      std::fill(std::begin(sums), std::end(sums), HalfUnit(axis.precision));
      for (int64_t k = 0; k < count; ++k) {
        const uint8_t* lanes = &in.pixels[(first + k) * row_bytes + left];
        const int16_t weight = weights[k];
        for (int lane = 0; lane < num_lanes; ++lane) sums[lane] += weight * int16_t{lanes[lane]};
      }
      uint8_t* pixels = &out.pixels[y * row_bytes + left];
      for (int lane = 0; lane < num_lanes; ++lane)
        pixels[lane] = RoundAndClamp(sums[lane], axis.precision);
    }
  }
  return out;
}

}  // namespace

RgbImage Resize(const RgbImage& image, ImageSize size) {
  LONGHAND_CHECK(size.height > 0 && size.width > 0) << size.width << " x " << size.height;
  if (size.width == image.width && size.height == image.height) return image;
  if (size.width == image.width) return ResizeRows(image, size.height);
  if (size.height == image.height) return ResizeColumns(image, size.width);
  return ResizeRows(ResizeColumns(image, size.width), size.height);
}

}  // namespace longhand::input
