#include "coordinator/cluster/planned_work.h"

#include <algorithm>
#include <chrono>

namespace longhand::cluster {
namespace {

// A token takes a multiplication and an addition for each weight, which has two bytes: as many
// operations as bytes.
constexpr double kFewestOperationsPerSecond = 10e9;

Duration LongestFor(double num_operations) {
  return std::chrono::milliseconds(
      static_cast<int64_t>(num_operations / kFewestOperationsPerSecond * 1000));
}

}  // namespace

Duration LongestForTokens(int64_t num_tokens, int64_t weight_bytes) {
  return LongestFor(static_cast<double>(num_tokens) * static_cast<double>(weight_bytes));
}

Duration LongestForPicture(const VisionConfig& vision,
                           int64_t num_patches,
                           int64_t layer_begin,
                           int64_t layer_end) {
  const auto& full = vision.fullatt_block_indexes;
  const auto num_full = std::count_if(full.begin(), full.end(), [&](int64_t layer) {
    return layer_begin <= layer && layer < layer_end;
  });
  const auto patches = static_cast<double>(num_patches);
  const auto hidden = static_cast<double>(vision.hidden_size);
  const double products =
      2 * hidden * (4 * hidden + 3 * static_cast<double>(vision.intermediate_size));
  return LongestFor(patches * static_cast<double>(layer_end - layer_begin) * products +
                    patches * patches * static_cast<double>(num_full) * 4 * hidden);
}

}  // namespace longhand::cluster
