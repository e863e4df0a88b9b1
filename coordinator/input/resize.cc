#include "coordinator/input/resize.h"

#include <emmintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
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

// Two weights that follow one another, as _mm_madd_epi16 multiplies them by two neighbours. Past
// the last one is 0.
__m128i WeightPair(const int16_t* weights, int64_t k, int64_t count) {
  const auto word = [&](int64_t i) { return i < count ? static_cast<uint16_t>(weights[i]) : 0u; };
  return _mm_set1_epi32(static_cast<int>(word(k) | word(k + 1) << 16));
}

// Half a unit, so that the shift rounds.
__m128i HalfUnit(int precision) { return _mm_set1_epi32(precision > 0 ? 1 << (precision - 1) : 0); }

// Eight sums as 16-bit numbers, of which 0 .. 255 are kept.
__m128i Round(__m128i low, __m128i high, __m128i precision) {
  return _mm_packs_epi32(_mm_sra_epi32(low, precision), _mm_sra_epi32(high, precision));
}

constexpr int kRows = 8;
using Lanes = int16_t[kRows];  // of one column and channel

__m128i* AsVector(Lanes& lanes) { return reinterpret_cast<__m128i*>(&lanes); }
const __m128i* AsVector(const Lanes& lanes) { return reinterpret_cast<const __m128i*>(&lanes); }

// Eight rows turned, eight bytes of each at a time: lanes[i][r] = rows[r][i].
void Turn(const uint8_t* const (&rows)[kRows], int64_t count, Lanes* lanes) {
  const __m128i zero = _mm_setzero_si128();
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m128i pairs[4], fours[4];
    for (int j = 0; j < 4; ++j) {
      pairs[j] =
          _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[2 * j] + i)),
                            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[2 * j + 1] + i)));
    }
    for (int j = 0; j < 2; ++j) {
      fours[j] = _mm_unpacklo_epi16(pairs[2 * j], pairs[2 * j + 1]);
      fours[2 + j] = _mm_unpackhi_epi16(pairs[2 * j], pairs[2 * j + 1]);
    }
    for (int j = 0; j < 2; ++j) {
      const __m128i low = _mm_unpacklo_epi32(fours[2 * j], fours[2 * j + 1]);
      const __m128i high = _mm_unpackhi_epi32(fours[2 * j], fours[2 * j + 1]);
      Lanes* to = lanes + i + 4 * j;
      _mm_storeu_si128(AsVector(to[0]), _mm_unpacklo_epi8(low, zero));
      _mm_storeu_si128(AsVector(to[1]), _mm_unpackhi_epi8(low, zero));
      _mm_storeu_si128(AsVector(to[2]), _mm_unpacklo_epi8(high, zero));
      _mm_storeu_si128(AsVector(to[3]), _mm_unpackhi_epi8(high, zero));
    }
  }
  for (; i < count; ++i) {
    for (int r = 0; r < kRows; ++r) lanes[i][r] = rows[r][i];
  }
}

// out[y, x] = sum over window k of x: weight[x, k] * in[y, k]. A block of rows is turned so that
// its rows lie side by side and share a weight.
RgbImage ResizeColumns(const RgbImage& in, int32_t width) {
  const Axis axis = MakeAxis(in.width, width);
  const __m128i precision = _mm_cvtsi32_si128(axis.precision);
  RgbImage out = RgbImage::Filled(in.height, width, 0);
  const int64_t row_bytes = int64_t{in.width} * 3;
  // One column more, for the second of a last pair.
  const auto lanes = std::make_unique<Lanes[]>(static_cast<size_t>(row_bytes + 3));
  for (int64_t top = 0; top < in.height; top += kRows) {
    const int num_rows = static_cast<int>(std::min<int64_t>(kRows, in.height - top));
    const uint8_t* rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      rows[r] = &in.pixels[(top + std::min(r, num_rows - 1)) * row_bytes];
    }
    Turn(rows, row_bytes, lanes.get());
    for (int64_t x = 0; x < width; ++x) {
      const auto [first, count] = axis.windows[x];
      const int16_t* weights = &axis.weights[x * axis.max_count];
      __m128i low[3], high[3];
      std::fill_n(low, 3, HalfUnit(axis.precision));
      std::fill_n(high, 3, HalfUnit(axis.precision));
      for (int64_t k = 0; k < count; k += 2) {
        const __m128i weight = WeightPair(weights, k, count);
        const Lanes* column = lanes.get() + (first + k) * 3;
        for (int c = 0; c < 3; ++c) {
          const __m128i a = _mm_loadu_si128(AsVector(column[c]));
          const __m128i b = _mm_loadu_si128(AsVector(column[3 + c]));
          low[c] = _mm_add_epi32(low[c], _mm_madd_epi16(_mm_unpacklo_epi16(a, b), weight));
          high[c] = _mm_add_epi32(high[c], _mm_madd_epi16(_mm_unpackhi_epi16(a, b), weight));
        }
      }
      for (int c = 0; c < 3; ++c) {
        const __m128i rounded = Round(low[c], high[c], precision);
        alignas(16) uint8_t bytes[16];
        _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packus_epi16(rounded, rounded));
        for (int r = 0; r < num_rows; ++r) out.pixels[((top + r) * width + x) * 3 + c] = bytes[r];
      }
    }
  }
  return out;
}

// out[y] = sum over window k of y: weight[y, k] * in[k], a strip of columns at a time.
RgbImage ResizeRows(const RgbImage& in, int32_t height) {
  constexpr int64_t kStrip = 16;
  const Axis axis = MakeAxis(in.height, height);
  const __m128i precision = _mm_cvtsi32_si128(axis.precision), zero = _mm_setzero_si128();
  const int64_t row_bytes = int64_t{in.width} * 3;
  RgbImage out = RgbImage::Filled(height, in.width, 0);
  const auto load = [](const uint8_t* p, int64_t bytes) {
    if (bytes == kStrip) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    alignas(16) uint8_t some[kStrip] = {};
    std::copy_n(p, bytes, some);
    return _mm_load_si128(reinterpret_cast<const __m128i*>(some));
  };
  for (int64_t y = 0; y < height; ++y) {
    const auto [first, count] = axis.windows[y];
    const int16_t* weights = &axis.weights[y * axis.max_count];
    for (int64_t left = 0; left < row_bytes; left += kStrip) {
      const int64_t bytes = std::min(kStrip, row_bytes - left);
      __m128i sums[4];
      std::fill_n(sums, 4, HalfUnit(axis.precision));
      for (int64_t k = 0; k < count; k += 2) {
        const __m128i weight = WeightPair(weights, k, count);
        const uint8_t* row = &in.pixels[(first + k) * row_bytes + left];
        const __m128i a = load(row, bytes);
        const __m128i b = k + 1 < count ? load(row + row_bytes, bytes) : zero;
        const __m128i low = _mm_unpacklo_epi8(a, b), high = _mm_unpackhi_epi8(a, b);
        const __m128i fours[4] = {_mm_unpacklo_epi8(low, zero), _mm_unpackhi_epi8(low, zero),
                                  _mm_unpacklo_epi8(high, zero), _mm_unpackhi_epi8(high, zero)};
        for (int j = 0; j < 4; ++j) {
          sums[j] = _mm_add_epi32(sums[j], _mm_madd_epi16(fours[j], weight));
        }
      }
      const __m128i pixels =
          _mm_packus_epi16(Round(sums[0], sums[1], precision), Round(sums[2], sums[3], precision));
      uint8_t* to = &out.pixels[y * row_bytes + left];
      if (bytes == kStrip) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), pixels);
      } else {
        alignas(16) uint8_t some[kStrip];
        _mm_store_si128(reinterpret_cast<__m128i*>(some), pixels);
        std::copy_n(some, bytes, to);
      }
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
