#include "tests/conformance/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace longhand::conformance {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool SameShapes(const Outputs& a, const Outputs& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const HostTensor& x, const HostTensor& y) {
                      return x.dtype == y.dtype && x.shape == y.shape;
                    });
}

bool IsFloat(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBf16; }

double FloatError(const HostTensor& actual, const HostTensor& expected, Tolerance::Metric metric) {
  double largest = 1e-30, worst = 0;
  const int64_t count = expected.num_elements();
  for (int64_t i = 0; i < count; ++i) {
    if (std::isfinite(expected.At(i))) largest = std::max(largest, std::abs(expected.At(i)));
  }
  for (int64_t i = 0; i < count; ++i) {
    const double a = actual.At(i), b = expected.At(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!std::isfinite(a) || !std::isfinite(b)) return kInfinity;
    const double scale =
        metric == Tolerance::Metric::kOfEach ? std::max(std::abs(b), 1e-30) : largest;
    worst = std::max(worst, std::abs(a - b) / scale);
  }
  return worst;
}

}  // namespace

double RoundingOf(DType dtype) { return dtype == DType::kBf16 ? 0x1p-8 : 0x1p-23; }

double ErrorOf(const Outputs& actual, const Outputs& expected, Tolerance::Metric metric) {
  if (!SameShapes(actual, expected)) return kInfinity;
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (IsFloat(actual[i].dtype)) {
      worst = std::max(worst, FloatError(actual[i], expected[i], metric));
      continue;
    }
    double different = 0;
    for (int64_t j = 0; j < actual[i].num_elements(); ++j) {
      different += actual[i].At(j) != expected[i].At(j) ? 1 : 0;
    }
    worst = std::max(worst, different);
  }
  return worst;
}

double DifferentBytes(const Outputs& actual, const Outputs& expected) {
  if (!SameShapes(actual, expected)) return kInfinity;
  double different = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    for (size_t j = 0; j < actual[i].bytes.size(); ++j) {
      different += actual[i].bytes[j] != expected[i].bytes[j] ? 1 : 0;
    }
  }
  return different;
}

}  // namespace longhand::conformance
