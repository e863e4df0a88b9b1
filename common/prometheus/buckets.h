// Bounds of the table's histograms.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <vector>

namespace longhand::buckets {

using Bounds = std::vector<double>;

// 1, 2, 5, 10, ... times the power of ten, up to `max`. Divided, not multiplied up, so that 0.2 is
// what 0.2 is.
inline Bounds Decades(int exponent, double max) {
  Bounds bounds;
  for (;; ++exponent) {
    const double power = std::pow(10.0, std::abs(exponent));
    for (const double step : {1.0, 2.0, 5.0}) {
      const double bound = exponent < 0 ? step / power : step * power;
      if (bound > max) return bounds;
      bounds.push_back(bound);
    }
  }
}

// Bounds that other servers have, and finer ones.
inline Bounds Join(Bounds bounds, std::initializer_list<double> more) {
  bounds.insert(bounds.end(), more);
  std::sort(bounds.begin(), bounds.end());
  return bounds;
}

inline Bounds VllmFirstToken() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
          1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
}
inline Bounds VllmBetweenTokens() {
  return {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
          0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
}
inline Bounds VllmRequest() {
  return {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
          30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
}
inline Bounds VllmStepTokens() {
  return {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
}

inline Bounds Tokens() { return Decades(0, 1e6); }
inline Bounds FirstToken() { return Join(VllmFirstToken(), {0.002, 0.15, 0.35, 1.5, 15}); }
// A 7B writes a token in 3 to 7 ms on one GPU; vLLM's bounds begin at 10.
inline Bounds BetweenTokens() {
  return Join(VllmBetweenTokens(),
              {0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.015, 0.02});
}
inline Bounds Request() { return Join(VllmRequest(), {0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 3600}); }
inline Bounds StepTokens() { return Join(VllmStepTokens(), {2, 4}); }
// From a small model's decode step to a long prefill on a CPU.
inline Bounds Step() { return Decades(-4, 20); }
// A mask takes 10 us where little can follow; its steps are bounded to some 20 ms.
inline Bounds TokenMask() { return Decades(-6, 0.1); }
// From 64 KiB between processes of one host to megabytes between hosts.
inline Bounds Collective() { return Decades(-6, 1); }

}  // namespace longhand::buckets
