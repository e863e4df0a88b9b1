#include "tests/parity/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

namespace longhand::parity {
namespace {

std::vector<double> Softmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    probabilities[i] = std::exp(logits[i] - largest);
    sum += probabilities[i];
  }
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

double KlDivergence(std::span<const float> expected, std::span<const float> actual) {
  const std::vector<double> p = Softmax(expected);
  const std::vector<double> q = Softmax(actual);
  double divergence = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] > 0) divergence += p[i] * (std::log(p[i]) - std::log(std::max(q[i], 1e-300)));
  }
  return divergence;
}

size_t Best(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// The best logit less the second best.
double Margin(std::span<const float> row) {
  float best = -std::numeric_limits<float>::infinity();
  float second = best;
  for (const float logit : row) {
    second = std::max(second, std::min(best, logit));
    best = std::max(best, logit);
  }
  return best - second;
}

}  // namespace

testing::AssertionResult IsNear(std::span<const float> expected,
                                std::span<const float> actual,
                                const Tolerance& tolerance) {
  if (expected.size() != actual.size()) {
    return testing::AssertionFailure()
           << actual.size() << " values, " << expected.size() << " recorded";
  }
  double difference = 0;
  double expected_norm = 0;
  double actual_norm = 0;
  double product = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = expected[i];
    const double b = actual[i];
    difference += (a - b) * (a - b);
    expected_norm += a * a;
    actual_norm += b * b;
    product += a * b;
  }
  const double relative = std::sqrt(difference / std::max(expected_norm, 1e-24));
  const double distance = 1 - product / std::max(std::sqrt(expected_norm * actual_norm), 1e-24);
  std::ostringstream figures;
  figures << "relative L2 " << relative << " (limit " << tolerance.relative_l2
          << "), cosine distance " << distance << " (limit " << tolerance.cosine_distance << ")";
  // Written so that NaN fails.
  const bool near = relative <= tolerance.relative_l2 && distance <= tolerance.cosine_distance;
  return (near ? testing::AssertionSuccess() : testing::AssertionFailure()) << figures.str();
}

testing::AssertionResult LogitsAreNear(std::span<const float> expected,
                                       std::span<const float> actual,
                                       int64_t vocab_size,
                                       const Tolerance& tolerance) {
  const testing::AssertionResult near = IsNear(expected, actual, tolerance);
  if (!near) return near;
  const size_t width = static_cast<size_t>(vocab_size);
  const size_t num_rows = expected.size() / width;
  double divergence = 0;
  for (size_t row = 0; row < num_rows; ++row) {
    const std::span<const float> a = expected.subspan(row * width, width);
    const std::span<const float> b = actual.subspan(row * width, width);
    divergence += KlDivergence(a, b) / static_cast<double>(num_rows);
    if (Margin(a) >= tolerance.clear_margin && Best(a) != Best(b)) {
      return testing::AssertionFailure() << "row " << row << ": token " << Best(b) << " is best, "
                                         << Best(a) << " recorded by " << Margin(a);
    }
  }
  if (!(divergence <= tolerance.kl_divergence)) {
    return testing::AssertionFailure()
           << "KL divergence " << divergence << " (limit " << tolerance.kl_divergence << ")";
  }
  return near;
}

}  // namespace longhand::parity
