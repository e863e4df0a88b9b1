// Which matrices of an adapter a rank holds, and how they are multiplied: layers whose weights are
// one matrix here have one delta too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/index_range.h"
#include "common/config/model_config.h"
#include "common/config/shard_plan.h"

namespace longhand::model {

// Columns of a group's output that have an A of their own.
struct AdapterPart {
  std::string module;   // as published
  IndexRange rows;      // of its B
  int64_t columns = 0;  // at least those rows; zeros behind them
};

struct AdapterGroup {
  std::vector<AdapterPart> parts;
  IndexRange inputs;        // columns of A: of a sum that ranks share, each has its own
  int64_t in_features = 0;  // at least those inputs; zeros behind them
  int64_t num_columns() const {
    int64_t columns = 0;
    for (const AdapterPart& part : parts) columns += part.columns;
    return columns;
  }
};

// Where each group is in the list.
enum class LayerGroup { kQkv, kO, kGateUp, kDown };
inline constexpr int64_t kLayerGroups = 4;

// Those of the decoder's layers, of the image encoder's blocks, which every rank holds whole, and
// the merger's two.
std::vector<AdapterGroup> AdapterGroups(const ModelConfig& config, const RankShard& shard);

inline int64_t DecoderGroup(int64_t layer_idx, LayerGroup group) {
  return layer_idx * kLayerGroups + static_cast<int64_t>(group);
}
inline int64_t VisionGroup(const ModelConfig& config, int64_t block_idx, LayerGroup group) {
  return DecoderGroup(config.num_layers + block_idx, group);
}
// Of fc1 and fc2.
inline int64_t MergerGroup(const ModelConfig& config, int64_t idx) {
  return (config.num_layers + config.vision.depth) * kLayerGroups + idx;
}

}  // namespace longhand::model
