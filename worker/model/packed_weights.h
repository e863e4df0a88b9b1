// What a rank's weights take in an Ops' memory, before they are loaded.
#pragma once

#include <cstdint>

#include "common/config/model_config.h"
#include "common/config/quantization.h"
#include "common/config/shard_plan.h"
#include "kernels/ops.h"

namespace longhand::model {

struct PackedWeights {
  int64_t bytes = 0;            // RankShard::weight_bytes, and what packing adds to them
  int64_t max_in_features = 0;  // of those in bf16 or codes
};

PackedWeights PlanPackedWeights(const ModelConfig& config,
                                const ShardPlan& plan,
                                int32_t rank,
                                Quantization quantization,
                                const kernels::Ops& ops);

}  // namespace longhand::model
